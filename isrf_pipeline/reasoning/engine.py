"""The vLLM engine of a worker process: created on first use, kept as long as the process lives."""

from __future__ import annotations

import collections
import contextlib
import importlib
import itertools
import os
import queue
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from isrf_pipeline.config.settings import EngineSettings
from isrf_pipeline.environment.model import model_path
from isrf_pipeline.environment.vllm import (
    STRUCTURED_OUTPUTS,
    import_vllm,
    number_format,
    one_line,
    take_gpus,
)
from isrf_pipeline.errors import ReasoningError
from isrf_pipeline.reasoning.conversation import AnswerRow, Backend, Completion, Conversation, Request
from isrf_pipeline.reasoning.prompts import Message
from isrf_pipeline.reasoning.steps import Step

#: Engines of this process by their settings; in practice one, for its memory returns only when the process ends.
_ENGINES: dict[str, VllmEngine] = {}


def engine_of_this_process(settings: EngineSettings) -> Backend:
    """Return the engine for ``settings``, started if this process has none yet.

    Raises
    ------
    EnvironmentMismatchError
        If vllm or the bundled model is not there.
    ReasoningError
        If the engine does not start.
    """
    key = settings.model_dump_json()
    if key not in _ENGINES:
        _ENGINES[key] = VllmEngine(settings)
    return _ENGINES[key]


@dataclass
class _Order:
    """What one call of :meth:`VllmEngine.carry` wants.

    Attributes
    ----------
    wanted
        Keys of the conversations whose rows are still to be given.
    conversations
        These, and those that may be begun ahead.
    outcomes
        Rows of each conversation that came to its end, or what the engine failed with.
    """

    wanted: set[str]
    conversations: list[Conversation]
    outcomes: queue.SimpleQueue[list[AnswerRow] | Exception] = field(default_factory=queue.SimpleQueue)


class VllmEngine:
    """One in-process vLLM engine, which works in a thread of its own.

    Between two tasks of Spark, while a wave is committed and the next one is sent, the worker process waits: what was
    begun ahead goes on meanwhile.

    Parameters
    ----------
    settings
        Model, cache, threads and sampling.
    """

    def __init__(self, settings: EngineSettings) -> None:
        self._settings = settings
        self._names = itertools.count()
        self._orders: queue.SimpleQueue[_Order] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._threads = settings.threads or len(os.sched_getaffinity(0))
        # Conversations that are not begun; those whose request is with the engine, by the request's name; rows of
        # those that came to their end.
        self._queue: collections.deque[Conversation] = collections.deque()
        self._held: dict[str, Conversation] = {}
        self._ended: dict[str, list[AnswerRow]] = {}
        take_gpus(settings.gpus, "reasoning.engine.gpus")
        model = model_path(settings.model)
        self._vllm = import_vllm(
            self._threads,
            settings.kv_cache_gib,
            Path(model).is_dir(),
            "run make setup, or set reasoning.backend to none",
        )
        try:
            self._llm: Any = self._vllm.LLM(
                model=model,
                revision=None if Path(model).is_dir() else settings.revision,
                dtype=number_format(settings.dtype),
                max_model_len=settings.max_model_len,
                max_num_seqs=settings.max_num_seqs,
                seed=settings.seed,
                enforce_eager=settings.enforce_eager,
                tensor_parallel_size=max(settings.gpus, 1),
                gpu_memory_utilization=settings.gpu_memory_utilization,
                enable_prefix_caching=True,
                disable_log_stats=True,
                use_tqdm_on_load=False,
                structured_outputs_config=STRUCTURED_OUTPUTS,
            )
            self._tokenizer: Any = self._llm.get_tokenizer()
        except Exception as error:
            raise ReasoningError(
                f"model {settings.model}",
                f"its engine did not start ({one_line(error)})",
                "read the executor's log and correct reasoning.engine",
            ) from error

    def carry(
        self, conversations: Iterable[Conversation], ahead: Iterable[Conversation] = ()
    ) -> Iterator[AnswerRow]:
        """Carry conversations to their end; see :class:`isrf_pipeline.reasoning.conversation.Backend`.

        The engine always holds twice as many requests as it works on at once, so that a place that falls free is
        taken in the same step; a chain's next step joins as soon as the one before it is answered. What comes ahead
        fills the places that the last stragglers of a wave leave empty, goes on while Spark commits the wave, and is
        found again by the next call.
        """
        wanted = {conversation.key: conversation for conversation in conversations}
        order = _Order(set(wanted), [*wanted.values(), *ahead])
        self._ask(order)
        left = len(wanted)
        try:
            while left:
                outcome = order.outcomes.get()
                if isinstance(outcome, BaseException):
                    raise outcome
                left -= 1
                yield from outcome
        finally:
            if left:
                # A task that is given up half-way must not leave its requests to the next one.
                self._ask(_Order(set(), []))

    def _ask(self, order: _Order) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="isrf-engine", daemon=True)
            self._thread.start()
        self._orders.put(order)

    def _work(self) -> None:
        """Work on the newest order for ever; everything that the engine is told, this thread tells it."""
        # OpenMP keeps a number for each thread that calls it, and Spark starts its workers with one.
        importlib.import_module("torch").set_num_threads(self._threads)
        order = _Order(set(), [])
        while True:
            if not self._orders.empty() or not (self._held or self._queue):
                order = self._orders.get()
                self._take(order)
            try:
                while self._queue and len(self._held) < 2 * self._settings.max_num_seqs:
                    self._advance(self._queue.popleft(), None)
                for name, completion in self._finished():
                    self._advance(self._held.pop(name), completion)
            except Exception as error:
                self._take(_Order(set(), []))
                order.outcomes.put(error)
            for key in order.wanted & self._ended.keys():
                order.wanted.remove(key)
                order.outcomes.put(self._ended.pop(key))

    def _take(self, order: _Order) -> None:
        """Queue what an order brings that is not begun yet, and drop what was begun and is not wanted any more."""
        keys = {conversation.key for conversation in order.conversations}
        dropped = [name for name, conversation in self._held.items() if conversation.key not in keys]
        if dropped:
            self._llm.llm_engine.abort_request(dropped)
        for name in dropped:
            del self._held[name]
        self._ended = {key: rows for key, rows in self._ended.items() if key in keys}
        begun = self._ended.keys() | {conversation.key for conversation in self._held.values()}
        self._queue = collections.deque(c for c in order.conversations if c.key not in begun)

    def _advance(self, conversation: Conversation, completion: Completion | None) -> None:
        """Hand a completion over, and the request that follows it to the engine."""
        while True:
            outcome = conversation.advance(completion)
            if isinstance(outcome, list):
                self._ended[conversation.key] = outcome
                return
            tokens = self._tokens(outcome.messages)
            excess = len(tokens) - (self._settings.max_model_len - outcome.step.max_tokens)
            if excess <= 0:
                self._held[self._submit(outcome, tokens)] = conversation
                return
            completion = Completion("", 0, 0, excess=excess)

    def _submit(self, request: Request, tokens: list[int]) -> str:
        name = str(next(self._names))
        with self._engine_errors():
            self._llm.llm_engine.add_request(name, {"prompt_token_ids": tokens}, self._sampling(request.step))
        return name

    def _finished(self) -> list[tuple[str, Completion]]:
        """One step of the engine: names and completions of the requests that it ended."""
        if not self._held:
            return []
        with self._engine_errors():
            outputs = self._llm.llm_engine.step()
        return [(output.request_id, _completion(output)) for output in outputs if output.finished]

    @contextlib.contextmanager
    def _engine_errors(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            raise ReasoningError(
                f"model {self._settings.model}",
                f"its engine failed ({one_line(error)})",
                "read the executor's log and run the stage again, which asks only for what is missing",
            ) from error

    def _tokens(self, messages: list[Message]) -> list[int]:
        text = self._tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
        return list(self._tokenizer.encode(text, add_special_tokens=False))

    def _sampling(self, step: Step) -> Any:
        sampling = importlib.import_module("vllm.sampling_params")
        return self._vllm.SamplingParams(
            temperature=self._settings.temperature,
            seed=self._settings.seed if self._settings.temperature > 0 else None,
            max_tokens=step.max_tokens,
            structured_outputs=sampling.StructuredOutputsParams(json=step.schema),
            output_kind=sampling.RequestOutputKind.FINAL_ONLY,
        )


def _completion(output: Any) -> Completion:
    first = output.outputs[0]
    failure = None
    if first.finish_reason != "stop":
        # A grammar can loop until the token limit: what stands there is no answer.
        failure = f"answer did not end (finish_reason {first.finish_reason})"
    return Completion(
        first.text,
        len(output.prompt_token_ids),
        len(first.token_ids),
        output.num_cached_tokens or 0,
        failure,
    )
