"""Whether a stage would only repeat what it did before: its inputs, settings and code are those of its last run."""

from __future__ import annotations

import datetime
from collections.abc import Iterable
from typing import TYPE_CHECKING

from isrf_pipeline.lake import Lake, Table, tables
from isrf_pipeline.run.records import RunIdentity, newest_first
from isrf_pipeline.stages.context import Stage, StageContext

if TYPE_CHECKING:
    from pyspark.sql import Row

#: What every run adds to: no stage's result depends on it.
_NO_INPUT = frozenset(table.name for table in (tables.RUNS, tables.METRICS, tables.GATES, tables.ANSWERS))


def is_fresh(stage: Stage, ctx: StageContext, run: RunIdentity, last: Row | None) -> bool:
    """Whether the stage's last run of the night of ``ctx`` was whole and still holds.

    It holds where settings and code are the same, every table and file that it read has the version it had then, and
    every table that it wrote has the version it left.

    Parameters
    ----------
    stage
        The stage.
    ctx
        Lake, settings and night.
    run
        Configuration and code of the run that asks.
    last
        Row of ops.runs of that last run, see :func:`last_records`; None where there was none.
    """
    if last is None or last["status"] != "done" or last["output_versions"] is None:
        return False
    if (last["config_hash"], last["code_version"]) != (run.config_hash, run.code_version):
        return False
    declared = {**tables.ALL_TABLES, **tables.WAITING, **{table.name: table for table in stage.writes}}
    read = {name: version for name, version in last["input_versions"].items() if name not in _NO_INPUT}
    sources = {name: version for name, version in read.items() if name not in declared}
    if sources != (stage.sources(ctx) if stage.sources is not None else {}):
        return False
    left = dict(last["output_versions"])
    unchanged_inputs = all(
        _is_at(ctx.lake, declared[name], version)
        for name, version in read.items()
        if name in declared and name not in left
    )
    return unchanged_inputs and all(
        _was_left_at(ctx.lake, declared[name], version) for name, version in left.items()
    )


def left_versions(ctx: StageContext, written: Iterable[Table]) -> dict[str, int]:
    """Versions of what a stage has written, as :func:`is_fresh` will look for them.

    Tables in which nights stand beside each other are left out, unless a night waits there: other nights add to them.
    """
    there = [
        table
        for table in map(ctx.in_work, written)
        if table.name not in _NO_INPUT and ("run_date" not in table.key or table.name in tables.WAITING)
    ]
    return {
        table.name: _version_before_rounds(ctx.lake, table)
        if table in tables.REBUILT_IN_ROUNDS
        else ctx.lake.version(table)
        for table in there
        if ctx.lake.exists(table)
    }


def _is_at(lake: Lake, table: Table, version: int) -> bool:
    """Whether nothing but maintenance has changed a table since ``version``."""
    # The history is asked only where it can matter: that takes longer.
    return lake.version(table) == version or lake.version_without(table, tables.MAINTENANCE_NOTE) == version


def _was_left_at(lake: Lake, table: Table, version: int) -> bool:
    """As :func:`_is_at`, for a version of :func:`left_versions`."""
    if table in tables.REBUILT_IN_ROUNDS:
        return _version_before_rounds(lake, table) == version
    return _is_at(lake, table, version)


def _version_before_rounds(lake: Lake, table: Table) -> int:
    # Rounds of optimization come after the stage that wrote the table, and are another stage's output.
    return lake.version_without(table, tables.ROUND_NOTE, tables.MAINTENANCE_NOTE)


def last_records(lake: Lake, run_date: datetime.date) -> dict[str, Row]:
    """By stage, the newest row of ops.runs of a night, those of stages that were skipped left out."""
    from pyspark.sql import Window
    from pyspark.sql import functions as F

    if not lake.exists(tables.RUNS):
        return {}
    rows = lake.read(tables.RUNS).where(
        (F.col("run_date") == F.lit(run_date)) & (F.col("status") != "skipped")
    )
    place = F.row_number().over(Window.partitionBy("stage").orderBy(*newest_first()))
    newest = rows.withColumn("place", place).where("place = 1").drop("place")
    return {row["stage"]: row for row in newest.collect()}
