"""A pool of OpenAI-compatible vLLM servers as a backend: the least busy one that is well is asked next."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterable, Iterator

import aiohttp

from isrf_pipeline.config.settings import ReasoningSettings
from isrf_pipeline.errors import ReasoningError
from isrf_pipeline.reasoning.conversation import AnswerRow, Completion, Conversation, Request
from isrf_pipeline.reasoning.endpoint import Asking, Endpoint, ServerBusyError, ServerFailedError

#: Waits differ by up to this factor, so that clients that failed together do not come back together.
_JITTER = 0.5


class ServerPool:
    """The configured servers.

    Parameters
    ----------
    settings
        Servers, sampling and limits.

    Raises
    ------
    ReasoningError
        If none of them answers, or one serves another model.
    """

    def __init__(self, settings: ReasoningSettings) -> None:
        self._settings = settings.server
        model = settings.served_name()
        self._asking = Asking(model, settings.engine, settings.server)
        self._endpoints = [Endpoint(url, self._asking) for url in settings.server.urls]
        asyncio.run(self._probe())

    def carry(
        self, conversations: Iterable[Conversation], ahead: Iterable[Conversation] = ()
    ) -> Iterator[AnswerRow]:
        """Carry conversations to their end; see :class:`isrf_pipeline.reasoning.conversation.Backend`."""
        yield from asyncio.run(self._carry(iter(conversations)))

    async def _probe(self) -> None:
        """Leave out what does not answer; servers of another model are a mistake that must not wait."""
        async with self._http() as http:
            served = await asyncio.gather(*(self._served(http, endpoint) for endpoint in self._endpoints))
        for endpoint, models in zip(self._endpoints, served, strict=True):
            if models is not None and self._asking.model not in models:
                raise ReasoningError(
                    f"server {endpoint.name}",
                    f"serves {', '.join(models) or 'no model'} and not {self._asking.model}",
                    "set reasoning.server.served_model to the name that the servers use",
                )
        if all(models is None for models in served):
            raise self._nobody()

    async def _served(self, http: aiohttp.ClientSession, endpoint: Endpoint) -> list[str] | None:
        try:
            return await endpoint.models(http)
        except ServerFailedError as error:
            endpoint.failed(str(error))
            return None

    async def _carry(self, conversations: Iterator[Conversation]) -> list[AnswerRow]:
        rows: list[AnswerRow] = []

        async def lane(http: aiohttp.ClientSession) -> None:
            # All lanes take from one iterator; each holds one conversation at a time.
            for conversation in conversations:
                rows.extend(await self._one(http, conversation))

        lanes = self._settings.concurrency * len(self._endpoints)
        async with self._http() as http:
            tasks = [asyncio.ensure_future(lane(http)) for _ in range(lanes)]
            try:
                await asyncio.gather(*tasks)
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
        return rows

    async def _one(self, http: aiohttp.ClientSession, conversation: Conversation) -> list[AnswerRow]:
        outcome = conversation.advance(None)
        while not isinstance(outcome, list):
            outcome = conversation.advance(await self._complete(http, outcome))
        return outcome

    async def _complete(self, http: aiohttp.ClientSession, request: Request) -> Completion:
        """Ask until somebody answers.

        A request that fails again and again while a server is well is at fault itself: its completion says so. Where
        no server is well, the pool as a whole has failed.
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._settings.attempts * self._settings.timeout_s
        failures = 0
        error = "busy"
        while failures < self._settings.attempts and loop.time() < deadline:
            endpoint = await self._next()
            try:
                return await endpoint.complete(http, request)
            except ServerBusyError as busy:
                error = str(busy)
            except ServerFailedError as failed:
                error = str(failed)
                endpoint.failed(error)
                failures += 1
        if not await self._anybody_well(http):
            raise self._nobody()
        return Completion("", 0, 0, failure=f"no server answered it ({error})")

    async def _next(self) -> Endpoint:
        """The least busy server that is well; where none is, the first to be tried again, after its pause."""
        while True:
            ready = [endpoint for endpoint in self._endpoints if endpoint.ready]
            if ready:
                return min(ready, key=lambda endpoint: endpoint.busy)
            soonest = min(endpoint.ready_at for endpoint in self._endpoints)
            wait = max(soonest - asyncio.get_running_loop().time(), 0.01)
            await asyncio.sleep(wait * random.uniform(1, 1 + _JITTER))

    async def _anybody_well(self, http: aiohttp.ClientSession) -> bool:
        served = await asyncio.gather(*(self._served(http, endpoint) for endpoint in self._endpoints))
        return any(models is not None for models in served)

    def _nobody(self) -> ReasoningError:
        states = "; ".join(f"{e.name}: {e.last_error or 'no error'}" for e in self._endpoints)
        return ReasoningError(
            "reasoning.server.urls",
            f"no server answers ({states})",
            "start them again and run the stage once more, which asks only for what is missing",
        )

    def _http(self) -> aiohttp.ClientSession:
        key = self._settings.api_key
        # Lanes are the limit of what is under way, and each may keep its connection.
        return aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0),
            headers={"Authorization": f"Bearer {key}"} if key else None,
        )
