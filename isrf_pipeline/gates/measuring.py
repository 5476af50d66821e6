"""Measures every gate of one night that waits for its publication."""

from __future__ import annotations

import datetime
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from isrf_pipeline.gates.drift import item_drift, score_drift
from isrf_pipeline.gates.recent import recent_accuracy
from isrf_pipeline.gates.result import GateResult
from isrf_pipeline.lake import tables
from isrf_pipeline.publication.record import published_nights
from isrf_pipeline.rules.exclusion_file import read_client_exclusions
from isrf_pipeline.rules.matching import excluded_items
from isrf_pipeline.stages.context import StageContext

if TYPE_CHECKING:
    from pyspark.sql import DataFrame


def measure_gates(ctx: StageContext, lists: DataFrame) -> list[GateResult]:
    """Measure what the settings give a limit; of all that only the rate of recent hits is kept, in ops.metrics.

    Parameters
    ----------
    ctx
        Lake, settings and night.
    lists
        The night's recommendations: user_id, item_id, rank and score.
    """
    nights = [night for night in published_nights(ctx.lake) if night < ctx.run_date][
        -ctx.settings.gates.reference_nights :
    ]
    return [
        *_coverage(ctx, lists),
        *_availability(ctx, lists),
        *_exclusions(ctx, lists),
        *_freshness(ctx),
        *_dead_letters(ctx),
        *_drift(ctx, lists, nights),
        *_recent(ctx, nights),
    ]


def _coverage(ctx: StageContext, lists: DataFrame) -> Iterator[GateResult]:
    clients = ctx.read(tables.CLIENTS).count()
    served = lists.select("user_id").distinct().count()
    yield GateResult(
        "client_coverage",
        served / max(clients, 1),
        ctx.settings.gates.min_client_coverage,
        True,
        "gates.min_client_coverage",
        f"{served:,} of {clients:,} clients have a list",
    )


def _availability(ctx: StageContext, lists: DataFrame) -> Iterator[GateResult]:
    # A benchmark's lists hold whatever the test events may name.
    if not ctx.settings.recommend.only_available or ctx.settings.recommend.input != "all":
        return
    available = ctx.read(tables.ITEMS).where("available").select("item_id")
    wrong = lists.join(available, "item_id", "left_anti").count()
    yield GateResult(
        "unavailable_items",
        wrong,
        0,
        False,
        "recommend.only_available",
        f"{wrong:,} places are taken by articles that are not available or not in the catalogue",
    )


def _exclusions(ctx: StageContext, lists: DataFrame) -> Iterator[GateResult]:
    exclude = ctx.settings.rules.exclude
    if not exclude.active:
        return
    wrong = 0
    if exclude.of_items:
        items = ctx.read(tables.ITEMS).where(excluded_items(ctx.settings.rules)).select("item_id")
        wrong += lists.join(items, "item_id", "left_semi").count()
    if exclude.clients is not None:
        pairs = read_client_exclusions(ctx.spark, exclude.clients)
        wrong += lists.join(pairs, ["user_id", "item_id"], "left_semi").count()
    yield GateResult(
        "excluded_items",
        wrong,
        0,
        False,
        "rules.exclude",
        f"{wrong:,} places are taken by articles on an exclusion list",
    )


def _freshness(ctx: StageContext) -> Iterator[GateResult]:
    from pyspark.sql import functions as F

    limit = ctx.settings.gates.max_data_age_days
    if limit is None:
        return
    end = F.lit((ctx.run_date + datetime.timedelta(days=1)).isoformat()).cast("timestamp")
    row = (
        ctx.read(tables.INTERACTIONS)
        .agg(F.max("ts").alias("newest"))
        .select(((F.unix_timestamp(end) - F.unix_timestamp("newest")) / 86_400).alias("age"))
        .first()
    )
    age = row["age"] if row is not None else None
    yield GateResult(
        "data_age_days",
        age,
        limit,
        False,
        "gates.max_data_age_days",
        "days from the newest event to the end of the night",
    )


def _dead_letters(ctx: StageContext) -> Iterator[GateResult]:
    from pyspark.sql import functions as F

    limit = ctx.settings.gates.max_dead_letter_share
    if limit is None or not ctx.lake.exists(tables.ANSWERS):
        return
    row = (
        ctx.read(tables.ANSWERS)
        .where(F.col("run_id") == ctx.run_id)
        .agg(F.count("*").alias("all"), F.count_if(F.col("status") == "dead").alias("dead"))
        .first()
    )
    assert row is not None
    yield GateResult(
        "dead_letter_share",
        row["dead"] / row["all"] if row["all"] else None,
        limit,
        False,
        "gates.max_dead_letter_share",
        f"{row['dead']:,} of {row['all']:,} answers of this run",
    )


def _drift(ctx: StageContext, lists: DataFrame, nights: Sequence[datetime.date]) -> Iterator[GateResult]:
    gates = ctx.settings.gates
    comparable = _same_kind_of_score(ctx, nights) if gates.max_score_drift is not None else []
    if gates.max_score_drift is not None:
        yield GateResult(
            "score_drift",
            score_drift(_of_nights(ctx, comparable), lists) if comparable else None,
            gates.max_score_drift,
            False,
            "gates.max_score_drift",
            _against(comparable, "whose scores came about in the same way"),
        )
    if gates.max_item_drift is not None:
        yield GateResult(
            "item_drift",
            item_drift(_of_nights(ctx, nights), lists) if nights else None,
            gates.max_item_drift,
            False,
            "gates.max_item_drift",
            _against(nights),
        )


def _recent(ctx: StageContext, nights: Sequence[datetime.date]) -> Iterator[GateResult]:
    from pyspark.sql import functions as F

    gates = ctx.settings.gates
    if gates.min_recent_accuracy is None:
        return
    measured: float | None = None
    detail = "no published night yet"
    if nights:
        choosing, found = recent_accuracy(
            _of_nights(ctx, nights[-1:]),
            ctx.read(tables.INTERACTIONS),
            nights[-1],
            ctx.settings.recommend.exclude_seen,
        )
        detail = f"{found:,} of {choosing:,} clients with a new choice found it in their list of {nights[-1]}"
        if choosing >= gates.min_recent_clients:
            measured = found / choosing
    if measured is not None:
        # Later nights compare theirs with it.
        ctx.write_metrics("recent", {("hit_rate", "all"): measured})
    before = (
        ctx.read(tables.METRICS)
        .where((F.col("metric") == "recent.hit_rate") & F.col("run_date").isin(list(nights)))
        .agg(F.avg("value"))
        .first()
        if measured is not None
        else None
    )
    mean = before[0] if before is not None else None
    yield GateResult(
        "recent_accuracy",
        measured / mean if measured is not None and mean else None,
        gates.min_recent_accuracy,
        True,
        "gates.min_recent_accuracy",
        detail + (f"; the nights before: {mean:.1%}" if mean else "; no night before to compare with"),
    )


def _same_kind_of_score(ctx: StageContext, nights: Sequence[datetime.date]) -> list[datetime.date]:
    """Those of ``nights`` whose lists were ordered by what orders tonight's: scores of others are another scale."""
    if not nights or not ctx.lake.exists(tables.INTEREST_MODEL):
        return []
    rows = ctx.read(tables.INTEREST_MODEL).select("run_date", "ranked_by").collect()
    ranked_by = {row["run_date"]: row["ranked_by"] for row in rows}
    return [night for night in nights if ranked_by.get(night) == ranked_by.get(ctx.run_date)]


def _of_nights(ctx: StageContext, nights: Sequence[datetime.date]) -> DataFrame:
    from pyspark.sql import functions as F

    return ctx.lake.read(tables.RECOMMENDATIONS).where(F.col("run_date").isin(list(nights)))


def _against(nights: Sequence[datetime.date], which: str = "") -> str:
    if not nights:
        return " ".join(f"no published night {which} to compare with".split())
    if len(nights) == 1:
        return f"against the night {nights[0]}"
    return f"against {len(nights)} nights from {nights[0]} to {nights[-1]}"
