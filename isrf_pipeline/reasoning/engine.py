"""The vLLM engine of a worker process: created on first use, kept as long as the process lives.

vllm is imported here and only when an engine is asked for, that is inside a Spark task: PySpark forks its workers, and
a process that has loaded torch or CUDA must not be forked.
"""

from __future__ import annotations

import importlib
import os
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from isrf_pipeline.config.settings import EngineSettings
from isrf_pipeline.environment.model import default_model_path
from isrf_pipeline.errors import EnvironmentMismatchError, ReasoningError
from isrf_pipeline.reasoning.chain import Completion, Generator
from isrf_pipeline.reasoning.prompts import Prompt
from isrf_pipeline.reasoning.steps import Step

#: Engines of this process by their settings; in practice one, for its memory returns only when the process ends.
_ENGINES: dict[str, VllmEngine] = {}


def engine_of_this_process(settings: EngineSettings) -> Generator:
    """Return the engine for ``settings``, started if this process has none yet.

    Raises
    ------
    EnvironmentMismatchError
        If vllm or the bundled model is not there.
    ReasoningError
        If the engine does not start.
    """
    key = settings.model_dump_json(exclude={"workers", "wave"})
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
        self._vllm = _import_vllm(settings)
        model = _model_path(settings)
        try:
            self._llm: Any = self._vllm.LLM(
                model=model,
                revision=None if Path(model).is_dir() else settings.revision,
                dtype=_number_format(settings.dtype),
                max_model_len=settings.max_model_len,
                max_num_seqs=settings.max_num_seqs,
                seed=settings.seed,
                enforce_eager=settings.enforce_eager,
                gpu_memory_utilization=settings.gpu_memory_utilization,
                enable_prefix_caching=True,
                disable_log_stats=True,
                use_tqdm_on_load=False,
                # Bounded texts are patterns: xgrammar takes longer for their masks than the model for a token.
                # Blanks are forbidden only as the engine's own setting; a small model loops on them.
                structured_outputs_config={
                    "backend": "guidance",
                    "disable_any_whitespace": True,
                    "disable_additional_properties": True,
                },
            )
            self._tokenizer: Any = self._llm.get_tokenizer()
        except Exception as error:
            raise ReasoningError(
                f"model {settings.model}",
                f"its engine did not start ({_one_line(error)})",
                "read the executor's log and correct reasoning.engine",
            ) from error

    def generate(self, step: Step, prompts: Sequence[Prompt]) -> list[Completion]:
        """Answer ``prompts``, in their order; see :class:`isrf_pipeline.reasoning.chain.Generator`."""
        tokens = [self._tokens(prompt) for prompt in prompts]
        room = self._settings.max_model_len - step.max_tokens
        fitting = [place for place, ids in enumerate(tokens) if len(ids) <= room]
        completions = [
            Completion("", 0, 0, f"prompt of {len(ids)} tokens is over the limit of {room}") for ids in tokens
        ]
        if not fitting:
            return completions
        try:
            outputs = self._llm.generate(
                [{"prompt_token_ids": tokens[place]} for place in fitting],
                self._sampling(step),
                use_tqdm=False,
            )
        except Exception as error:
            raise ReasoningError(
                f"model {self._settings.model}",
                f"its engine failed in step {step.kind} ({_one_line(error)})",
                "read the executor's log and run the stage again, which asks only for what is missing",
            ) from error
        for place, output in zip(fitting, outputs, strict=True):
            completions[place] = _completion(output)
        return completions

    def _tokens(self, prompt: Prompt) -> list[int]:
        text = self._tokenizer.apply_chat_template(
            prompt.messages(), tokenize=False, add_generation_prompt=True
        )
        return list(self._tokenizer.encode(text, add_special_tokens=False))

    def _sampling(self, step: Step) -> Any:
        guided = importlib.import_module("vllm.sampling_params").StructuredOutputsParams(json=step.schema)
        return self._vllm.SamplingParams(
            temperature=self._settings.temperature,
            seed=self._settings.seed if self._settings.temperature > 0 else None,
            max_tokens=step.max_tokens,
            structured_outputs=guided,
        )


def _completion(output: Any) -> Completion:
    first = output.outputs[0]
    failure = None
    if first.finish_reason != "stop":
        # A grammar can loop until the token limit: what stands there is no answer.
        failure = f"answer did not end (finish_reason {first.finish_reason})"
    return Completion(first.text, len(output.prompt_token_ids), len(first.token_ids), failure)


def _number_format(configured: str) -> str:
    """Resolve ``auto``: a CPU that has no bfloat16 instructions emulates them, five times slower than float32."""
    cpu_info = Path("/proc/cpuinfo")
    if configured != "auto" or importlib.import_module("torch").cuda.is_available() or not cpu_info.is_file():
        return configured
    flags = cpu_info.read_text(encoding="utf-8")
    return "auto" if "avx512_bf16" in flags or "amx_bf16" in flags else "float32"


def _model_path(settings: EngineSettings) -> str:
    if settings.model != "bundled":
        return settings.model
    folder = default_model_path()
    if not folder.is_dir():
        raise EnvironmentMismatchError(
            str(folder),
            "the bundled model has not been prepared",
            "run make setup, or set reasoning.engine.model",
        )
    return str(folder)


def _import_vllm(settings: EngineSettings) -> Any:
    """Import vllm with the variables that it reads once, on import."""
    threads = settings.threads or len(os.sched_getaffinity(0))
    os.environ |= {
        # In this process: a child would outlive a killed worker and keep its memory.
        "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
        "VLLM_CPU_KVCACHE_SPACE": str(settings.kv_cache_gib),
        # Spark sets one thread a worker, and vLLM's own binding leaves a core aside.
        "OMP_NUM_THREADS": str(threads),
        "VLLM_CPU_OMP_THREADS_BIND": "nobind",
        "VLLM_NO_USAGE_STATS": "1",
    }
    os.environ.setdefault("VLLM_LOGGING_LEVEL", "ERROR")
    if settings.model == "bundled" or Path(settings.model).is_dir():
        os.environ.setdefault("HF_HUB_OFFLINE", "1")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return importlib.import_module("vllm")
    except ImportError as error:
        raise EnvironmentMismatchError(
            "vllm",
            f"cannot be imported by the worker's Python ({_one_line(error)})",
            "run make setup, or set reasoning.backend to none",
        ) from error


def _one_line(error: BaseException) -> str:
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text[:200]}" if text else type(error).__name__
