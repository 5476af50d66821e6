"""How a vLLM server is started, so that it answers as the engine of a worker would."""

from __future__ import annotations

import importlib.util
import json
import os
import sys
from pathlib import Path

from isrf_pipeline.config.settings import ReasoningSettings
from isrf_pipeline.environment.model import model_path
from isrf_pipeline.environment.vllm import STRUCTURED_OUTPUTS, number_format, vllm_variables
from isrf_pipeline.errors import EnvironmentMismatchError


def server_command(settings: ReasoningSettings, host: str, port: int) -> list[str]:
    """Command line of a server for ``settings.engine`` on ``host`` and ``port``.

    Raises
    ------
    EnvironmentMismatchError
        If vllm or the bundled model is not there.
    """
    if importlib.util.find_spec("vllm") is None:
        raise EnvironmentMismatchError("vllm", "is not installed", "run make setup")
    engine = settings.engine
    model = model_path(engine.model)
    options = {
        "host": host,
        "port": port,
        "served-model-name": settings.served_name(),
        "dtype": number_format(engine.dtype),
        "max-model-len": engine.max_model_len,
        "max-num-seqs": engine.max_num_seqs,
        # Of itself a server takes fewer than an engine does, for the sake of the first token.
        "max-num-batched-tokens": engine.max_num_batched_tokens,
        "seed": engine.seed,
        "tensor-parallel-size": max(engine.gpus, 1),
        "gpu-memory-utilization": engine.gpu_memory_utilization,
        "structured-outputs-config": json.dumps(STRUCTURED_OUTPUTS),
    }
    if not Path(model).is_dir():
        options["revision"] = engine.revision
    # The program vllm asks for the metadata of a package named vllm, which the build for CPUs does not have.
    command = [sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--model", model]
    for name, value in options.items():
        command += [f"--{name}", str(value)]
    command += ["--enable-prefix-caching", "--enable-prompt-tokens-details"]
    return [*command, "--enforce-eager"] if engine.enforce_eager else command


def server_variables(settings: ReasoningSettings) -> dict[str, str]:
    """Environment variables that the server needs beside those that are set; its key is one, which no list shows."""
    engine = settings.engine
    variables = vllm_variables(engine.threads, engine.kv_cache_gib, Path(model_path(engine.model)).is_dir())
    variables["VLLM_LOGGING_LEVEL"] = os.environ.get("VLLM_LOGGING_LEVEL", "INFO")
    if settings.server.api_key is not None:
        variables["VLLM_API_KEY"] = settings.server.api_key
    return variables
