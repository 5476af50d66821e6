"""What a segment's clients have: the items that stand for it, and those that nobody would expect of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

#: An item that fewer clients of the segment have says nothing of the segment.
_MIN_CLIENTS = 3
_MIN_LIFT = 1.5


def segment_items(
    members: DataFrame, events: DataFrame, features: DataFrame, segments: DataFrame, count: int
) -> DataFrame:
    """Typical and surprising items of each segment.

    The score of an item in a segment is its share (of the segment's clients, who have it) times the logarithm of its
    lift (that share over the share among all members). Typical are the items with the highest scores. Surprising are
    those with the highest scores among the items that have none of the segment's distinguishing features: what its name
    and description would not let one expect.

    Parameters
    ----------
    members
        user_id and segment_id.
    events
        user_id and item_id; training events only.
    features
        item_id and word: houses, categories and tags of the items, in lower case.
    segments
        segment_id and top_features.
    count
        Items of each kind.

    Returns
    -------
    DataFrame
        segment_id, kind (typical or surprising), rank, item_id, share and lift.
    """
    from pyspark.sql import Window
    from pyspark.sql import functions as F

    sizes = members.groupBy("segment_id").agg(F.count("*").alias("size"))
    total = sizes.agg(F.sum("size").alias("total"))
    having = (
        events.select("user_id", "item_id")
        .distinct()
        .join(members.select("user_id", "segment_id"), "user_id")
    )
    in_segment = having.groupBy("segment_id", "item_id").agg(F.count("*").alias("clients"))
    everywhere = in_segment.groupBy("item_id").agg(F.sum("clients").alias("all_clients"))
    share = F.col("clients") / F.col("size")
    lift = share / (F.col("all_clients") / F.col("total"))
    scored = (
        in_segment.where(F.col("clients") >= _MIN_CLIENTS)
        .join(everywhere, "item_id")
        .join(F.broadcast(sizes), "segment_id")
        .crossJoin(F.broadcast(total))
        .select("segment_id", "item_id", share.alias("share"), lift.alias("lift"))
        .where(F.col("lift") >= _MIN_LIFT)
        # Rounded so that the order of equal items does not hang on the last bit.
        .withColumn("score", F.round(F.col("share") * F.log("lift"), 9))
    )
    expected = (
        segments.select("segment_id", F.explode("top_features").alias("feature"))
        .select("segment_id", F.lower("feature").alias("word"))
        .join(features, "word")
        .select("segment_id", "item_id")
        .distinct()
    )
    both = scored.withColumn("kind", F.lit("typical")).unionByName(
        scored.join(expected, ["segment_id", "item_id"], "left_anti").withColumn("kind", F.lit("surprising"))
    )
    order = Window.partitionBy("segment_id", "kind").orderBy(F.desc("score"), F.xxhash64("item_id"))
    return (
        both.withColumn("rank", F.row_number().over(order))
        .where(F.col("rank") <= count)
        .select("segment_id", "kind", "rank", "item_id", "share", "lift")
    )
