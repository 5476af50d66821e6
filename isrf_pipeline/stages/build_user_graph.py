"""Stage build_user_graph: profiles, the user-similarity graph before optimization, and the segments found in it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from isrf_pipeline.evaluation.split import training_events, validation_events
from isrf_pipeline.graphs.communities import find_communities
from isrf_pipeline.graphs.draw import drawn_clients
from isrf_pipeline.graphs.meaning import item_meaning
from isrf_pipeline.graphs.neighbours import neighbour_recall, similar_clients
from isrf_pipeline.graphs.profiles import history_profiles
from isrf_pipeline.graphs.segment_matching import match_communities
from isrf_pipeline.graphs.segments import describe_segments, features_of_items
from isrf_pipeline.graphs.similarity import pairs_of
from isrf_pipeline.graphs.statistics import graph_statistics
from isrf_pipeline.graphs.text_choice import choose_text_weight, group_gains
from isrf_pipeline.interests.histories import coded_histories, held_out_targets, item_codes, item_popularity
from isrf_pipeline.interests.model import sorted_item_ids
from isrf_pipeline.lake import Table
from isrf_pipeline.lake.tables import (
    FIELD_WEIGHTS,
    INTERACTIONS,
    ITEM_FEATURES,
    ITEMS,
    PROFILE_WEIGHTS,
    PROFILES,
    SEGMENT_CHANGES,
    SEGMENT_ITEMS,
    SEGMENT_MEMBERS,
    SEGMENTS,
    SIMILARITY,
    USER_FEATURES,
)
from isrf_pipeline.logs import log_event
from isrf_pipeline.merchandising.segment_items import segment_items
from isrf_pipeline.publication.record import published_nights
from isrf_pipeline.stages.context import Stage, StageContext

if TYPE_CHECKING:
    from pyspark.sql import DataFrame


def run(ctx: StageContext) -> None:
    """Write profiles and similar clients of round 0, then segments and statistics."""
    from pyspark.sql import functions as F

    graph = ctx.settings.user_graph
    events = training_events(ctx.read(INTERACTIONS), ctx.settings.split)
    embeddings = item_meaning(ctx)
    texts = ctx.read(USER_FEATURES).select("user_id", "embedding")
    weight = _text_weight(ctx, events, embeddings, texts)
    profiles = history_profiles(events, embeddings, graph.history_decay, texts, weight)
    ctx.write(PROFILES, profiles.withColumn("round", F.lit(0)))
    # Later steps read what was written: a plan evaluated again must not give other rows.
    profiles = ctx.stored(PROFILES).where("round = 0").select("user_id", "embedding")
    found = similar_clients(profiles, profiles, graph.neighbours, graph)
    ctx.write(SIMILARITY, pairs_of(found).withColumn("round", F.lit(0)))
    similar = ctx.stored(SIMILARITY).where("round = 0")
    values = graph_statistics(
        profiles.select(F.col("user_id").alias("id"), F.lit("user").alias("kind")),
        similar.select("src", "dst", F.lit("similar").alias("relation"), F.col("similarity").alias("weight")),
    )
    recall = neighbour_recall(profiles, similar, graph.neighbours, graph)
    if recall is not None:
        values["neighbour_recall", "all"] = recall
    if graph.segments:
        values.update(_write_segments(ctx, events, embeddings, texts, weight))
    else:
        # Later stages read both tables; what a night with other settings wrote must not stay.
        for table in (SEGMENT_MEMBERS, SEGMENTS, SEGMENT_ITEMS, SEGMENT_CHANGES):
            ctx.write(table, ctx.spark.createDataFrame([], table.ddl()))
    ctx.write_metrics("user_graph", values)


def _text_weight(ctx: StageContext, events: DataFrame, embeddings: DataFrame, texts: DataFrame) -> float:
    """Weight of interest texts in profiles, by validation; stored for the stages that make profiles themselves."""
    from pyspark.sql import functions as F

    texts = texts.where(F.col("embedding").isNotNull()).persist()
    tried = ctx.settings.user_graph.text_weights if not texts.isEmpty() else []
    gains = _text_gains(ctx, events, embeddings, texts) if any(tried) else None
    chosen = choose_text_weight(tried, gains)
    rows = [(chosen.field, chosen.weight, chosen.gain, chosen.error)] if any(tried) else []
    ctx.write(PROFILE_WEIGHTS, ctx.spark.createDataFrame(rows, PROFILE_WEIGHTS.ddl()))
    for _ in rows:
        event = "field_used" if chosen.weight else "field_left_out"
        log_event(event, field=chosen.field, weight=chosen.weight, gain=chosen.gain, error=chosen.error)
    return chosen.weight


def _text_gains(
    ctx: StageContext, events: DataFrame, embeddings: DataFrame, texts: DataFrame
) -> Callable[[float], NDArray[np.float64]] | None:
    """What validation says of a weight, see :func:`group_gains`; None where no client can judge."""
    graph = ctx.settings.user_graph
    item_ids, _ = sorted_item_ids(embeddings.select("item_id").toArrow().column("item_id").to_pylist())
    codes = item_codes(ctx.spark, item_ids)
    histories = coded_histories(events, codes).persist()
    targets = held_out_targets(validation_events(ctx.read(INTERACTIONS), ctx.settings.split), codes)
    judging = drawn_clients(histories.join(targets, "user_id"), graph.validation_clients)
    judges = judging.select("user_id", "codes", "target").localCheckpoint()
    if judges.isEmpty():
        return None
    popularity = item_popularity(histories, len(item_ids))

    def gains(weight: float) -> NDArray[np.float64]:
        profiles = history_profiles(events, embeddings, graph.history_decay, texts, weight)
        return group_gains(profiles, judges, histories, popularity, ctx.settings)

    return gains


def _write_segments(
    ctx: StageContext, events: DataFrame, embeddings: DataFrame, texts: DataFrame, text_weight: float
) -> dict[tuple[str, str], float]:
    from pyspark.sql import functions as F

    graph = ctx.settings.user_graph
    # Recommendations follow the newest steps; a segment stands for lasting taste, so it weighs them more evenly.
    lasting = history_profiles(events, embeddings, graph.segment_decay, texts, text_weight).localCheckpoint()
    nearest = pairs_of(similar_clients(lasting, lasting, graph.community_neighbours, graph)).localCheckpoint()
    communities = find_communities(nearest, graph).localCheckpoint()
    night = F.lit(ctx.run_date)
    before = _night_before(ctx, SEGMENT_MEMBERS)
    named, changes = match_communities(communities, before, graph.segment_continuity)
    ctx.write(SEGMENT_MEMBERS, named.withColumn("run_date", night))
    lasting.unpersist()
    nearest.unpersist()
    members = ctx.stored(SEGMENT_MEMBERS).where(F.col("run_date") == night)
    features = features_of_items(ctx.read(ITEMS), ctx.read(ITEM_FEATURES)).localCheckpoint()
    described = describe_segments(members, events, features, _night_before(ctx, SEGMENTS))
    ctx.write(SEGMENTS, described.withColumn("run_date", night))
    segments = ctx.stored(SEGMENTS).where(F.col("run_date") == night)
    shown = segment_items(members, events, features, segments, graph.segment_items)
    rows = [
        (ctx.run_date, one.segment_id, one.change, one.size, one.size_before, one.shared, one.similarity)
        for one in changes
    ]
    ctx.write_together(
        (SEGMENT_ITEMS, shown.withColumn("run_date", night)),
        (SEGMENT_CHANGES, ctx.spark.createDataFrame(rows, SEGMENT_CHANGES.ddl())),
    )
    sizes = members.groupBy("segment_id").agg(F.count("*").alias("size"), F.avg("affinity").alias("affinity"))
    row = sizes.agg(
        F.count("*"), F.min("size"), F.percentile("size", 0.5), F.max("size"), F.avg("affinity")
    ).first()
    names = (
        "segments",
        "segment_size.min",
        "segment_size.median",
        "segment_size.max",
        "segment_affinity.mean",
    )
    values = {
        (name, "all"): float(value)
        for name, value in zip(names, row or (), strict=False)
        if value is not None
    }
    for change in ("kept", "born", "died"):
        values[f"segments.{change}", "all"] = float(sum(one.change == change for one in changes))
    return values


def _night_before(ctx: StageContext, table: Table) -> DataFrame | None:
    """Rows of a delivered table of the last published night before that of ``ctx``."""
    from pyspark.sql import functions as F

    nights = [night for night in published_nights(ctx.lake) if night < ctx.run_date]
    if not nights or not ctx.lake.exists(table):
        return None
    return ctx.lake.read(table).where(F.col("run_date") == F.lit(nights[-1]))


STAGE = Stage(
    "build_user_graph",
    reads=(INTERACTIONS, ITEMS, ITEM_FEATURES, USER_FEATURES, FIELD_WEIGHTS),
    writes=(PROFILE_WEIGHTS, PROFILES, SIMILARITY, SEGMENT_MEMBERS, SEGMENTS, SEGMENT_ITEMS, SEGMENT_CHANGES),
    run=run,
)
