"""The last nights for the report: which were published, which were stopped, which went on in a second run."""

from __future__ import annotations

import datetime
import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING

from isrf_pipeline.lake import tables
from isrf_pipeline.publication.record import current_night, published_nights
from isrf_pipeline.report.figures import NightFigure
from isrf_pipeline.run.records import newest_first
from isrf_pipeline.stages.context import StageContext

if TYPE_CHECKING:
    from pyspark.sql import Row

_SHOWN = 8


def last_nights(ctx: StageContext) -> tuple[NightFigure, ...]:
    """The last nights up to that of ``ctx``, the newest first; its own export is not recorded yet."""
    from pyspark.sql import functions as F

    if not ctx.lake.exists(tables.RUNS):
        return ()
    runs = ctx.lake.read(tables.RUNS).where(F.col("run_date") <= F.lit(ctx.run_date))
    shown = runs.select("run_date").distinct().orderBy(F.desc("run_date")).limit(_SHOWN)
    # Some ten stages a run and few runs a night.
    records = runs.join(F.broadcast(shown), "run_date", "left_semi").orderBy(*newest_first()).collect()
    published, current = set(published_nights(ctx.lake)), current_night(ctx.lake)
    by_night: dict[datetime.date, list[Row]] = {}
    for row in reversed(records):
        by_night.setdefault(row["run_date"], []).append(row)
    return tuple(
        NightFigure(
            night,
            night in published,
            night == current,
            len({row["run_id"] for row in rows}),
            sum(row["seconds"] for row in rows),
            sum(row["llm_calls"] for row in rows),
            story_of(rows),
        )
        for night, rows in sorted(by_night.items(), reverse=True)
    )


def story_of(records: Sequence[Row]) -> tuple[str, ...]:
    """What went wrong in a night, in the order in which it happened.

    Parameters
    ----------
    records
        Rows of ops.runs of one night, by start.
    """
    told = [
        f"{row['stage']} {'failed' if row['status'] == 'failed' else 'is partial'}: {row['error']}"
        for row in records
        if row["status"] in ("failed", "partial")
    ]
    runs = list(dict.fromkeys(row["run_id"] for row in records))
    for before, after in itertools.pairwise(runs):
        ended, again = ([row for row in records if row["run_id"] == run] for run in (before, after))
        goes_on_at = next((row["stage"] for row in again if row["status"] != "skipped"), None)
        told_why = any(row["status"] == "failed" for row in ended)
        if again[0]["status"] == "skipped" and goes_on_at not in {None, *(row["stage"] for row in ended)}:
            told += [] if told_why else [f"a run ended without a word; the next went on at {goes_on_at}"]
    return tuple(told)
