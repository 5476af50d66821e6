"""Related items, read off the item-item edges of the semantic interaction graph."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pyspark.sql import DataFrame


def related_items(edges: DataFrame, count: int) -> DataFrame:
    """Closest items of every item.

    Each relation's weights are divided by the item's largest of that relation, so that both may be ranked together;
    an item related in both ways keeps the stronger one.

    Parameters
    ----------
    edges
        graph.edges.
    count
        Related items of one item.

    Returns
    -------
    DataFrame
        item_id, rank, related_item_id, score (0 to 1), relation.
    """
    from pyspark.sql import Window
    from pyspark.sql import functions as F

    known = edges.where("relation IN ('followed_by', 'similar_meaning')")
    # Two rows an item: broadcasting them is cheaper than sorting all edges for a window.
    largest = known.groupBy("src", "relation").agg(F.max("weight").alias("largest"))
    between = known.join(F.broadcast(largest), ["src", "relation"]).select(
        F.expr("substring(src, 3)").alias("item_id"),
        F.expr("substring(dst, 3)").alias("related_item_id"),
        "relation",
        (F.col("weight") / F.col("largest")).cast("double").alias("score"),
    )
    strongest = between.groupBy("item_id", "related_item_id").agg(
        F.max(F.struct("score", "relation")).alias("best")
    )
    order = Window.partitionBy("item_id").orderBy(F.col("best.score").desc(), F.xxhash64("related_item_id"))
    return (
        strongest.withColumn("rank", F.row_number().over(order))
        .where(F.col("rank") <= count)
        .select("item_id", "rank", "related_item_id", "best.score", "best.relation")
    )
