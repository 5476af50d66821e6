"""Hero items: articles that resonate across segments, and the clients who would welcome them."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

#: Places of a list that count as being recommended.
_LISTED = 10


def hero_items(recommendations: DataFrame, training: DataFrame, members: DataFrame, count: int) -> DataFrame:
    """Items recommended to more of a segment than to clients on the whole, in the most segments.

    Parameters
    ----------
    recommendations
        This night's lists.
    training
        Training events: who already has an item.
    members
        This night's segment members.
    count
        How many hero items.

    Returns
    -------
    DataFrame
        item_id, rank, segments_reached, reach (clients), lift (share of clients it is recommended to over the share
        that already knows it, both with one client added so that new items count).
    """
    from pyspark.sql import Window
    from pyspark.sql import functions as F

    listed = recommendations.where(F.col("rank") <= _LISTED).select("user_id", "item_id", "segment_id")
    clients = recommendations.select("user_id").distinct().count()
    reach = listed.groupBy("item_id").agg(F.count("*").alias("reach"))
    known = training.groupBy("item_id").agg(F.count_distinct("user_id").alias("known_by"))
    sizes = members.groupBy("segment_id").agg(F.count("*").alias("size"))
    by_segment = (
        listed.where("segment_id IS NOT NULL")
        .groupBy("item_id", "segment_id")
        .agg(F.count("*").alias("listed"))
    )
    reached = (
        by_segment.join(sizes, "segment_id")
        .join(reach, "item_id")
        .where(F.col("listed") / F.col("size") >= F.col("reach") / F.lit(max(clients, 1)))
        .groupBy("item_id")
        .agg(F.count("*").cast("int").alias("segments_reached"))
    )
    scored = (
        reach.join(reached, "item_id", "left")
        .join(known, "item_id", "left")
        .select(
            "item_id",
            F.coalesce("segments_reached", F.lit(0)).alias("segments_reached"),
            F.col("reach").cast("int").alias("reach"),
            ((F.col("reach") + 1) / (F.coalesce("known_by", F.lit(0)) + 1)).alias("lift"),
        )
    )
    order = Window.orderBy(F.col("segments_reached").desc(), F.col("reach").desc(), F.xxhash64("item_id"))
    return scored.withColumn("rank", F.row_number().over(order)).where(F.col("rank") <= count)


def hero_audiences(recommendations: DataFrame, heroes: DataFrame) -> DataFrame:
    """For each hero item the clients it is recommended to, best fit first.

    Returns
    -------
    DataFrame
        campaign_id ('hero:' and the item), user_id, rank, score.
    """
    from pyspark.sql import Window
    from pyspark.sql import functions as F

    fit = recommendations.where(F.col("rank") <= _LISTED).join(
        F.broadcast(heroes.select("item_id")), "item_id"
    )
    # Scores compare within one client only; the place in the client's own list compares across clients.
    order = Window.partitionBy("item_id").orderBy(
        "rank", F.col("explicit_share").desc(), F.xxhash64("user_id")
    )
    return fit.select(
        F.concat(F.lit("hero:"), "item_id").alias("campaign_id"),
        "user_id",
        F.row_number().over(order).alias("audience_rank"),
        (1 / F.col("rank")).alias("score"),
    ).withColumnRenamed("audience_rank", "rank")
