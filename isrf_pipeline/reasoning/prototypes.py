"""Prototypes: the model is asked about the centre of each segment, and its clients take the segment's text."""

from __future__ import annotations

from typing import TYPE_CHECKING

from isrf_pipeline.lake.tables import SEGMENT_MEMBERS
from isrf_pipeline.stages.context import StageContext

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

#: Added to what all clients chose, so that an item of few clients is not the mark of whichever segment has them.
_SMOOTHING = 5.0


def newest_segments(ctx: StageContext) -> DataFrame | None:
    """Segments of the newest night before this one: user_id, segment_id; None where there is none.

    Tonight's own segments do not count: a night that is repeated must leave the same tables.
    """
    from pyspark.sql import functions as F

    if not ctx.lake.exists(SEGMENT_MEMBERS):
        return None
    members = ctx.lake.read(SEGMENT_MEMBERS).where(F.col("run_date") < F.lit(ctx.run_date))
    newest = members.agg(F.max("run_date")).first()
    if newest is None or newest[0] is None:
        return None
    return members.where(F.col("run_date") == F.lit(newest[0])).select("user_id", "segment_id")


def prototype_subjects(training: DataFrame, lines: DataFrame, segments: DataFrame, n_items: int) -> DataFrame:
    """One subject for each segment: the items that its clients choose far more often than others do.

    An item's weight in a segment is the number of its clients there, times the share that these are of all its clients
    (their number plus five): what everybody has says little about a segment.

    Parameters
    ----------
    training
        Training events.
    lines
        See :func:`isrf_pipeline.reasoning.users.item_lines`.
    segments
        user_id, segment_id.
    n_items
        How many items make a prototype.

    Returns
    -------
    DataFrame
        subject (segment_id), priority (the largest segment first), input (JSON as of a client's: attributes, and
        history with when "often", the most frequent event, and text).
    """
    from pyspark.sql import Window
    from pyspark.sql import functions as F

    chosen = training.select("user_id", "item_id", "event_type").distinct()
    everybody = chosen.groupBy("item_id").agg(F.count_distinct("user_id").alias("overall"))
    inside = (
        chosen.join(segments, "user_id")
        .groupBy("segment_id", "item_id")
        .agg(
            F.count_distinct("user_id").alias("clients"),
            F.mode("event_type", deterministic=True).alias("event"),
        )
        .join(everybody, "item_id")
        .withColumn("weight", F.col("clients") * F.col("clients") / (F.col("overall") + _SMOOTHING))
    )
    order = Window.partitionBy("segment_id").orderBy(F.desc("weight"), "item_id")
    marked = (
        inside.withColumn("place", F.row_number().over(order))
        .where(F.col("place") <= n_items)
        .join(lines.select("item_id", "line"), "item_id")
    )
    entry = F.struct("place", F.lit("often").alias("when"), "event", F.col("line").alias("text"))
    history = F.transform(
        F.array_sort(F.collect_list(entry)),
        lambda e: F.struct(e["when"].alias("when"), e["event"].alias("event"), e["text"].alias("text")),
    )
    sizes = segments.groupBy("segment_id").agg(F.count("*").alias("size"))
    nothing = F.map_from_arrays(F.array(), F.array()).cast("map<string,string>").alias("attributes")
    return (
        marked.groupBy("segment_id")
        .agg(history.alias("history"))
        .join(sizes, "segment_id")
        .select(
            F.col("segment_id").alias("subject"),
            (-F.col("size")).cast("bigint").alias("priority"),
            F.to_json(F.struct(nothing, "history")).alias("input"),
        )
    )


def spread_to_members(answered: DataFrame, segments: DataFrame) -> DataFrame:
    """Each client's share of the segments' answers.

    Parameters
    ----------
    answered
        user_id (the segment that was asked about), interest, reason.
    segments
        user_id, segment_id.

    Returns
    -------
    DataFrame
        user_id, interest, reason.
    """
    named = answered.withColumnRenamed("user_id", "segment_id")
    return segments.join(named, "segment_id").select("user_id", "interest", "reason")
