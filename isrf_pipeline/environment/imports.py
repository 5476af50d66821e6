"""The first import of the heavy packages, done once by the set-up.

It proves that they load on this machine (a missing system library shows here and not in the middle of a night), and it
leaves their byte code behind: where PYTHONDONTWRITEBYTECODE is set, every engine and every worker would otherwise
compile thousands of modules again, which doubles the start of vLLM.
"""

from __future__ import annotations

import contextlib
import importlib
import sys

from isrf_pipeline.errors import EnvironmentMismatchError, IsrfError

REQUIRED = (
    "pandas",
    "pyarrow",
    "pyspark.sql",
    "pyspark.ml",
    "delta.tables",
    "graphframes",
    "sentence_transformers",
    "vllm",
)
#: What an engine's own process loads besides; their names change between releases, so they may be missing.
_OPTIONAL = (
    "vllm.entrypoints.llm",
    "vllm.v1.engine.core",
    "vllm.v1.engine.llm_engine",
    "vllm.v1.worker.cpu_worker",
    "vllm.v1.structured_output.backend_xgrammar",
    "vllm.model_executor.models.llama",
)


def import_all() -> None:
    """Import everything heavy.

    Raises
    ------
    EnvironmentMismatchError
        If a required package does not load here.
    """
    # Set by the interpreter from PYTHONDONTWRITEBYTECODE, which is right for sources but not for installed packages.
    sys.dont_write_bytecode = False
    for name in REQUIRED:
        try:
            importlib.import_module(name)
        except Exception as error:
            first = (str(error).strip().splitlines() or [type(error).__name__])[0]
            raise EnvironmentMismatchError(
                name,
                f"is installed but does not load on this machine ({first[:200]})",
                "install what it misses, then run make setup",
            ) from error
    for name in _OPTIONAL:
        with contextlib.suppress(Exception):
            importlib.import_module(name)


def main() -> int:
    """Import everything heavy; one line on standard error where something does not load."""
    try:
        import_all()
    except IsrfError as error:
        print(f"isrf: {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
