"""All checks of the machine in the order in which a person mends them; what ``isrf doctor`` shows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from isrf_pipeline.environment import checks
from isrf_pipeline.environment.checks import CheckResult

if TYPE_CHECKING:
    from isrf_pipeline.config.settings import Settings

__all__ = ["CheckResult", "format_results", "run_checks"]


def run_checks(settings: Settings | None = None) -> list[CheckResult]:
    """Check the machine; seconds, and no Spark session and no engine is started.

    Parameters
    ----------
    settings
        Narrows the checks to what this configuration needs; without it the bundled model is expected and no lake is
        looked at.
    """
    root = settings.lake.root if settings else None
    needs_llm = settings is None or settings.reasoning.backend == "engine"
    worker_python = settings.spark.conf.get("spark.pyspark.python") if settings else None
    return [
        checks.check_java(),
        checks.check_python(worker_python),
        checks.check_pyspark(),
        checks.check_jars(),
        checks.check_vllm(needs_llm),
        checks.check_gpu(),
        checks.check_model(settings.reasoning.engine.model if settings else "bundled", needs_llm),
        checks.check_encoder(settings.embedding.model if settings else "bundled"),
        checks.check_lake(root),
        checks.check_disk(root),
        checks.check_memory(),
    ]


def format_results(results: list[CheckResult]) -> str:
    """One line a check, with the mend below each that failed."""
    width = max((len(result.name) for result in results), default=0)
    lines = []
    for result in results:
        lines.append(f"{'ok  ' if result.ok else 'FAIL'}  {result.name:<{width}}  {result.found}")
        if result.mend:
            lines.append(f"      {'':<{width}}  mend: {result.mend}")
    return "\n".join(lines)
