"""One OpenAI-compatible server of the pool: how it is asked, what its answers mean, and whether it is well."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import aiohttp

from isrf_pipeline.config.redaction import HIDDEN, redacted
from isrf_pipeline.config.settings import EngineSettings, ServerSettings
from isrf_pipeline.reasoning.conversation import Completion, Request

#: Longest that a server may ask us to wait.
_LONGEST_PAUSE = 120.0
_PROBE_SECONDS = 5.0


class ServerFailedError(Exception):
    """A server did not answer, or not with an answer; another one may."""


class ServerBusyError(Exception):
    """A server asks to be left alone for a while."""


@dataclass(frozen=True)
class Asking:
    """What all requests have in common.

    Attributes
    ----------
    model
        Name by which the servers know it.
    engine
        Sampling.
    settings
        Timeouts and pauses.
    """

    model: str
    engine: EngineSettings
    settings: ServerSettings


class Endpoint:
    """One server and its state.

    Parameters
    ----------
    url
        Base address, such as http://host:8000/v1.
    asking
        What all requests have in common.
    clock
        Seconds that only grow; given by tests.
    """

    def __init__(self, url: str, asking: Asking, clock: Callable[[], float] = time.monotonic) -> None:
        self.url = url.rstrip("/")
        #: The address as it may be shown, without a password.
        self.name = redacted(self.url)
        #: Requests under way.
        self.busy = 0
        #: When it may be asked again.
        self.ready_at = 0.0
        self.last_error: str | None = None
        self._failures = 0
        self._asking = asking
        self._clock = clock

    @property
    def ready(self) -> bool:
        """Whether it may be asked now."""
        return self._clock() >= self.ready_at

    def failed(self, error: str) -> None:
        """Leave it out for a while, longer with each failure in a row."""
        settings = self._asking.settings
        self._failures += 1
        pause = min(settings.backoff_s * 2 ** (self._failures - 1), settings.retry_dead_after_s)
        self.ready_at = max(self.ready_at, self._clock() + pause)
        self.last_error = error

    def pause(self, seconds: float) -> None:
        """Leave it alone as long as it asks for."""
        self.ready_at = max(self.ready_at, self._clock() + min(max(seconds, 0.0), _LONGEST_PAUSE))
        self.last_error = "busy"

    async def models(self, http: aiohttp.ClientSession) -> list[str]:
        """Names of the models that it serves.

        Raises
        ------
        ServerFailedError
            If it does not say.
        """
        timeout = aiohttp.ClientTimeout(total=_PROBE_SECONDS)
        try:
            async with http.get(f"{self.url}/models", timeout=timeout) as response:
                if response.status != 200:
                    raise ServerFailedError(f"status {response.status}")
                return [str(model["id"]) for model in (await response.json(content_type=None))["data"]]
        except (TimeoutError, aiohttp.ClientError, ValueError, KeyError, TypeError) as error:
            raise ServerFailedError(self._said(error)) from None

    async def complete(self, http: aiohttp.ClientSession, request: Request) -> Completion:
        """Ask one request.

        Raises
        ------
        ServerFailedError
            If there is no usable response: the request may be sent to another server.
        ServerBusyError
            If the server asks to wait; :meth:`pause` was called.
        """
        self.busy += 1
        try:
            timeout = aiohttp.ClientTimeout(total=self._asking.settings.timeout_s)
            async with http.post(
                f"{self.url}/chat/completions", json=self._body(request), timeout=timeout
            ) as response:
                if response.status in (429, 503):
                    self.pause(_seconds(response.headers.get("Retry-After"), self._asking.settings.backoff_s))
                    raise ServerBusyError(f"status {response.status}")
                if response.status in (400, 413, 422):
                    return await self._refused(http, request, await response.text())
                if response.status != 200:
                    raise ServerFailedError(f"status {response.status}")
                completion = _completion(await response.json(content_type=None))
        except (TimeoutError, aiohttp.ClientError, ValueError, KeyError, IndexError, TypeError) as error:
            raise ServerFailedError(self._said(error)) from None
        finally:
            self.busy -= 1
        self._failures = 0
        return completion

    async def _refused(self, http: aiohttp.ClientSession, request: Request, why: str) -> Completion:
        """Find out whether a refused request was too long, and by how much."""
        async with http.post(
            f"{self.url.removesuffix('/v1')}/tokenize",
            json={"model": self._asking.model, "messages": request.messages, "add_generation_prompt": True},
            timeout=aiohttp.ClientTimeout(total=self._asking.settings.timeout_s),
        ) as response:
            if response.status == 200:
                counted = await response.json(content_type=None)
                excess = int(counted["count"]) + request.step.max_tokens - int(counted["max_model_len"])
                if excess > 0:
                    return Completion("", 0, 0, excess=excess)
        return Completion("", 0, 0, failure=f"refused by the server ({self._shown(why)})")

    def _said(self, error: BaseException) -> str:
        text = self._shown(str(error))
        return f"{type(error).__name__}: {text}" if text else type(error).__name__

    def _shown(self, text: str) -> str:
        """The beginning of what a server or a library said, without secrets; a worker knows none but these."""
        key = self._asking.settings.api_key
        text = text.replace(self.url, self.name)
        return redacted(" ".join((text.replace(key, HIDDEN) if key else text).split()))[:150]

    def _body(self, request: Request) -> dict[str, Any]:
        engine = self._asking.engine
        return {
            "model": self._asking.model,
            "messages": request.messages,
            "max_tokens": request.step.max_tokens,
            "temperature": engine.temperature,
            "seed": engine.seed,
            "response_format": {
                "type": "json_schema",
                "json_schema": {"name": "answer", "schema": request.step.schema, "strict": True},
            },
        }


def _completion(body: Any) -> Completion:
    choice = body["choices"][0]
    text = choice["message"]["content"] or ""
    if not isinstance(text, str):
        raise TypeError("content is no text")
    usage = body["usage"]
    details = usage.get("prompt_tokens_details") or {}
    reason = choice["finish_reason"]
    return Completion(
        text,
        int(usage["prompt_tokens"]),
        int(usage["completion_tokens"]),
        int(details.get("cached_tokens") or 0),
        None if reason == "stop" else f"answer did not end (finish_reason {reason})",
    )


def _seconds(header: str | None, otherwise: float) -> float:
    """Seconds of a Retry-After header; a date, or nothing, counts as ``otherwise``."""
    try:
        return float(header) if header is not None else otherwise
    except ValueError:
        return otherwise
