"""Records what the gates found, and stops the night that does not keep them."""

from __future__ import annotations

from collections.abc import Sequence

from isrf_pipeline.errors import QualityGateError
from isrf_pipeline.gates.result import GateResult
from isrf_pipeline.lake import tables
from isrf_pipeline.logs import log_event
from isrf_pipeline.stages.context import StageContext


def require_gates(ctx: StageContext, results: Sequence[GateResult]) -> None:
    """Write ops.gates, and refuse to publish the night if a gate does not hold.

    Raises
    ------
    QualityGateError
        Naming each gate that does not hold, and by how much.
    """
    rows = [
        (
            ctx.run_date,
            result.gate,
            None if result.value is None else float(result.value),
            float(result.limit),
            result.at_least,
            result.passed,
            result.setting,
            result.detail,
            ctx.run_id,
        )
        for result in results
    ]
    ctx.write(tables.GATES, ctx.spark.createDataFrame(rows, tables.GATES.ddl()))
    for result in results:
        log_event("gate", gate=result.gate, value=result.value, limit=result.limit, passed=result.passed)
    failed = [result for result in results if result.passed is False]
    if failed:
        raise QualityGateError(
            f"night {ctx.run_date}",
            "is not published: " + "; ".join(result.complaint() for result in failed),
            "what was published before stays; look at ops.gates and the runbook, then run the night again or raise "
            "the limit",
        )
