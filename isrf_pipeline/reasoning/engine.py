"""The vLLM engine of a worker process: created on first use, kept as long as the process lives."""

from __future__ import annotations

import collections
import contextlib
import importlib
import itertools
from collections.abc import Iterable, Iterator
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


class VllmEngine:
    """One in-process vLLM engine.

    Parameters
    ----------
    settings
        Model, cache, threads and sampling.
    """

    def __init__(self, settings: EngineSettings) -> None:
        self._settings = settings
        self._names = itertools.count()
        # Conversations whose request is with the engine, by the request's name; rows of those that came to their end.
        self._held: dict[str, Conversation] = {}
        self._ended: dict[str, list[AnswerRow]] = {}
        take_gpus(settings.gpus, "reasoning.engine.gpus")
        model = model_path(settings.model)
        self._vllm = import_vllm(
            settings.threads,
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
                max_num_batched_tokens=settings.max_num_batched_tokens,
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
        fills the places that the last stragglers of a wave leave empty, and is found again by the next call.
        """
        wanted = {conversation.key: conversation for conversation in conversations}
        queue = collections.deque([*wanted.values(), *ahead])
        self._forget_all_but({conversation.key for conversation in queue})
        most = 2 * self._settings.max_num_seqs
        try:
            while wanted:
                while queue and len(self._held) < most:
                    self._begin(queue.popleft())
                for name, completion in self._finished():
                    self._advance(self._held.pop(name), completion)
                for key in [key for key in self._ended if key in wanted]:
                    del wanted[key]
                    yield from self._ended.pop(key)
        except BaseException:
            # A task that is given up half-way must not leave its requests to the next one.
            self._forget_all_but(set())
            raise

    def _begin(self, conversation: Conversation) -> None:
        """Begin a conversation unless an earlier call has begun it."""
        if conversation.key not in self._ended and all(
            conversation.key != held.key for held in self._held.values()
        ):
            self._advance(conversation, None)

    def _forget_all_but(self, keys: set[str]) -> None:
        """Drop what was begun ahead and is not wanted any more."""
        dropped = [name for name, conversation in self._held.items() if conversation.key not in keys]
        if dropped:
            self._llm.llm_engine.abort_request(dropped)
        for name in dropped:
            del self._held[name]
        self._ended = {key: rows for key, rows in self._ended.items() if key in keys}

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
