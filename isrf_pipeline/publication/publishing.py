"""Brings a night from its pending tables to those that consumers read."""

from __future__ import annotations

import datetime
import functools
from typing import TYPE_CHECKING

from isrf_pipeline.concurrent_actions import run_together
from isrf_pipeline.errors import UsageError
from isrf_pipeline.lake import Lake, Table, tables
from isrf_pipeline.logs import log_event
from isrf_pipeline.publication.record import Action, current_night, published_nights, record_publication
from isrf_pipeline.stages.context import StageContext

if TYPE_CHECKING:
    from pyspark.sql import Column


def publish(ctx: StageContext) -> None:
    """Copy the night's rows to the delivered tables, then make it the current night, unless a later one is.

    Each table changes in one commit, and all of them before the row of gold.publications that names the night: whoever
    reads the current night sees the one before until then. Publishing a night again replaces its rows.
    """
    lake, night = ctx.lake, _of(ctx.run_date)
    delivered = [table for table in tables.DELIVERED if lake.exists(table.pending)]
    where = f"run_date = '{ctx.run_date.isoformat()}'"

    def copy(table: Table) -> int:
        return lake.overwrite(table, lake.read(table.pending).where(night), where)

    rows = run_together(*(functools.partial(copy, table) for table in delivered))
    versions = {table.name: lake.version(table) for table in delivered}
    shown = current_night(lake)
    action: Action = "published" if shown is None or ctx.run_date >= shown else "added"
    record_publication(lake, ctx.run_date, ctx.run_id, action, versions)
    counts = {table.name: count for table, count in zip(delivered, rows, strict=True)}
    log_event("published", run_id=ctx.run_id, run_date=ctx.run_date, rows=counts)
    ctx.counters.rows_out += sum(rows)


def roll_back(lake: Lake, run_date: datetime.date, run_id: str) -> None:
    """Make an earlier published night the current one again; no table but gold.publications changes.

    Raises
    ------
    UsageError
        If the night was never published, or its rows are gone.
    """
    known = published_nights(lake)
    if run_date not in known:
        last = ", ".join(str(night) for night in known[-5:]) or "none"
        raise UsageError(
            f"--run-date {run_date}", "was never published", f"choose a published night (the last: {last})"
        )
    if lake.read(tables.RECOMMENDATIONS).where(_of(run_date)).isEmpty():
        raise UsageError(
            f"--run-date {run_date}",
            "is no longer in gold.recommendations",
            "choose a later night, or run this one again",
        )
    versions = {table.name: lake.version(table) for table in tables.DELIVERED if lake.exists(table)}
    record_publication(lake, run_date, run_id, "rolled back", versions)
    log_event("rolled_back", run_id=run_id, run_date=run_date)


def _of(run_date: datetime.date) -> Column:
    from pyspark.sql import functions as F

    return F.col("run_date") == F.lit(run_date)
