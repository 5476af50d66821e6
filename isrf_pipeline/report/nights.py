"""The last nights for the report: which were published, which were stopped, which went on in a second run."""

from __future__ import annotations

import datetime
import itertools
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from isrf_pipeline.lake import tables
from isrf_pipeline.publication.record import current_night, published_nights
from isrf_pipeline.report.figures import NamedCount, NightFigure
from isrf_pipeline.run.records import newest_first
from isrf_pipeline.stages.context import StageContext

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, Row

_SHOWN = 8
#: Before the names of measures that say what the sources brought.
_CHANGES = "changes."


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
    changes = _changes(ctx, shown)
    erased = erased_after(records[::-1], _erasures(ctx))
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
            changes_among(changes.get(night, {})),
            erased[night],
        )
        for night, rows in sorted(by_night.items(), reverse=True)
    )


def changes_among(measures: Mapping[str, float]) -> tuple[NamedCount, ...]:
    """What the sources brought, out of a night's measures over all; in the order of their names, zeros left out."""
    return tuple(
        NamedCount(metric.removeprefix(_CHANGES), round(value))
        for metric, value in sorted(measures.items())
        if metric.startswith(_CHANGES) and value
    )


def _changes(ctx: StageContext, shown: DataFrame) -> dict[datetime.date, dict[str, float]]:
    """Measures of what the sources of each night brought."""
    from pyspark.sql import functions as F

    if not ctx.lake.exists(tables.METRICS):
        return {}
    rows = (
        ctx.lake.read(tables.METRICS)
        .where(F.col("metric").startswith(_CHANGES))
        .join(F.broadcast(shown), "run_date", "left_semi")
        .collect()
    )
    found: dict[datetime.date, dict[str, float]] = {}
    for row in rows:
        found.setdefault(row["run_date"], {})[row["metric"]] = row["value"]
    return found


def erased_after(records: Sequence[Row], erasures: Sequence[datetime.datetime]) -> Counter[datetime.date]:
    """How many clients were erased after the runs of each night, before another night ran.

    Parameters
    ----------
    records
        Rows of ops.runs in the order in which they were recorded.
    erasures
        When each client was erased, by the clock of the records.
    """
    found: Counter[datetime.date] = Counter()
    for erased_at in erasures:
        before = [row["run_date"] for row in records if row["started_at"] < erased_at]
        if before:
            found[before[-1]] += 1
    return found


def _erasures(ctx: StageContext) -> list[datetime.datetime]:
    if not ctx.lake.exists(tables.ERASED):
        return []
    # So many as ever asked to be forgotten: few, and a timestamp each.
    return [row["erased_at"] for row in ctx.lake.read(tables.ERASED).select("erased_at").collect()]


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
