"""vLLM in a worker process or as a server: its variables, its settings for guided answers, the GPUs that it may see.

vllm is imported only inside a Spark task: PySpark forks its workers, and a process that has loaded torch or CUDA must
not be forked.
"""

from __future__ import annotations

import importlib
import os
import warnings
from typing import Any

from isrf_pipeline.environment.gpus import gpu_addresses
from isrf_pipeline.environment.processor import cpu_has_bfloat16
from isrf_pipeline.errors import EnvironmentMismatchError

#: Bounded texts are patterns: xgrammar takes longer for their masks than the model for a token. Blanks are forbidden
#: only as the engine's own setting; a small model loops on them.
STRUCTURED_OUTPUTS = {
    "backend": "guidance",
    "disable_any_whitespace": True,
    "disable_additional_properties": True,
}


def vllm_variables(threads: int | None, kv_cache_gib: int, offline: bool) -> dict[str, str]:
    """Environment variables of a process that runs vllm.

    Parameters
    ----------
    threads
        CPU threads of an engine; None is all cores of this process.
    kv_cache_gib
        Key-value cache of a CPU engine.
    offline
        Whether the model is a folder, so that no hub need be asked.
    """
    variables = {
        # In one process: a child would outlive a killed worker and keep its memory, and on a CPU the two wait for each
        # other by spinning, on the cores that the model needs.
        "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
        "VLLM_CPU_KVCACHE_SPACE": str(kv_cache_gib),
        # Spark sets one thread a worker, and vLLM's own binding leaves a core aside.
        "OMP_NUM_THREADS": str(threads or len(os.sched_getaffinity(0))),
        "VLLM_CPU_OMP_THREADS_BIND": "nobind",
        "VLLM_NO_USAGE_STATS": "1",
        "VLLM_LOGGING_LEVEL": os.environ.get("VLLM_LOGGING_LEVEL", "ERROR"),
    }
    if offline:
        variables["HF_HUB_OFFLINE"] = os.environ.get("HF_HUB_OFFLINE", "1")
    return variables


def import_vllm(threads: int | None, kv_cache_gib: int, offline: bool, mend: str) -> Any:
    """Import vllm with the variables that it reads on import.

    Parameters
    ----------
    threads, kv_cache_gib, offline
        See :func:`vllm_variables`.
    mend
        What to do where vllm is not installed.

    Raises
    ------
    EnvironmentMismatchError
        If it cannot be imported.
    """
    os.environ |= vllm_variables(threads, kv_cache_gib, offline)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return importlib.import_module("vllm")
    except ImportError as error:
        raise EnvironmentMismatchError(
            "vllm", f"cannot be imported by the worker's Python ({one_line(error)})", mend
        ) from error


def take_gpus(gpus: int, setting: str) -> None:
    """Show vLLM the first ``gpus`` of the GPUs that Spark gave this task and no others; 0 changes nothing.

    Raises
    ------
    EnvironmentMismatchError
        If Spark gave fewer than ``setting`` asks for.
    """
    if gpus == 0:
        return
    addresses = gpu_addresses()
    if len(addresses) < gpus:
        raise EnvironmentMismatchError(
            f"{setting} {gpus}",
            f"Spark gave the task {len(addresses)} GPUs",
            "declare as many GPUs on each executor, or lower it",
        )
    os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(addresses[:gpus])


def runs_on_cpu() -> bool:
    """Whether torch finds no GPU in this process."""
    return not importlib.import_module("torch").cuda.is_available()


def number_format(configured: str) -> str:
    """Resolve ``auto`` on a CPU, where a model's own format may be emulated."""
    slow = configured == "auto" and runs_on_cpu() and not cpu_has_bfloat16()
    return "float32" if slow else configured


def one_line(error: BaseException) -> str:
    """Type and message of ``error`` in at most some 200 characters without line breaks."""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text[:200]}" if text else type(error).__name__
