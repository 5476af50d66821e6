"""Related items: what clients go on to, what serves the same need, what the same clients have."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pyspark.sql import DataFrame


#: Fewer clients in common are chance.
_MIN_SHARED = 2
_RELATIONS = {"followed_by": "bought_after", "similar_meaning": "same_need"}


def related_items(edges: DataFrame, taste: DataFrame, count: int) -> DataFrame:
    """Closest items of every item.

    Each relation's weights are divided by the item's largest of that relation, so that all may be ranked together;
    an item related in several ways keeps the strongest one.

    Parameters
    ----------
    edges
        graph.edges: ``followed_by`` is what clients go on to, ``similar_meaning`` what serves the same need.
    taste
        src, dst and weight of items that the same clients have, see :func:`shared_taste`.
    count
        Related items of one item.

    Returns
    -------
    DataFrame
        item_id, rank, related_item_id, score (0 to 1), relation.
    """
    from pyspark.sql import Window
    from pyspark.sql import functions as F

    names = F.create_map(*[F.lit(part) for pair in _RELATIONS.items() for part in pair])
    known = (
        edges.where(F.col("relation").isin(*_RELATIONS))
        .select("src", "dst", names[F.col("relation")].alias("relation"), F.col("weight").cast("double"))
        .unionByName(taste.withColumn("relation", F.lit("same_taste")))
    )
    # Two rows an item: broadcasting them is cheaper than sorting all edges for a window.
    largest = known.groupBy("src", "relation").agg(F.max("weight").alias("largest"))
    between = known.join(F.broadcast(largest), ["src", "relation"]).select(
        F.expr("substring(src, 3)").alias("item_id"),
        F.expr("substring(dst, 3)").alias("related_item_id"),
        "relation",
        (F.col("weight") / F.col("largest")).alias("score"),
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


def shared_taste(training: DataFrame, items: DataFrame, newest_items: int) -> DataFrame:
    """Items of different categories that the same clients have.

    The weight is the cosine of the two items as sets of clients: clients in common over the geometric mean of the
    clients of each (Salton and McGill, 1983). Items of one category serve one need and are left to that relation.

    Parameters
    ----------
    training
        user_id, item_id and ts.
    items
        item_id and categories.
    newest_items
        Newest items of a client that count: a long history would pair everything with everything.

    Returns
    -------
    DataFrame
        src and dst (vertices 'i:<item>'), and weight (double, 0 to 1); both directions.
    """
    from pyspark.sql import Window
    from pyspark.sql import functions as F

    newest = Window.partitionBy("user_id").orderBy(F.desc("ts"), F.xxhash64("item_id"))
    chosen = (
        training.groupBy("user_id", "item_id")
        .agg(F.max("ts").alias("ts"))
        .withColumn("place", F.row_number().over(newest))
        .where(F.col("place") <= newest_items)
        .select("user_id", "item_id")
    )
    narrowest = F.try_element_at("categories", F.lit(-1))
    kinds = items.select("item_id", narrowest.alias("kind"))
    counted = chosen.groupBy("item_id").agg(F.count("*").alias("clients")).join(kinds, "item_id", "left")
    pairs = (
        chosen.alias("a")
        .join(chosen.alias("b"), "user_id")
        .where("a.item_id <> b.item_id")
        .groupBy(F.col("a.item_id").alias("one"), F.col("b.item_id").alias("other"))
        .agg(F.count("*").alias("shared"))
        .where(F.col("shared") >= _MIN_SHARED)
    )
    of_one, of_other = (
        counted.select(
            F.col("item_id").alias(name),
            F.col("clients").alias(f"{name}_clients"),
            F.col("kind").alias(f"{name}_kind"),
        )
        for name in ("one", "other")
    )
    return (
        pairs.join(F.broadcast(of_one), "one")
        .join(F.broadcast(of_other), "other")
        .where(~F.col("one_kind").eqNullSafe(F.col("other_kind")) | F.col("one_kind").isNull())
        .select(
            F.concat(F.lit("i:"), "one").alias("src"),
            F.concat(F.lit("i:"), "other").alias("dst"),
            (F.col("shared") / F.sqrt(F.col("one_clients") * F.col("other_clients"))).alias("weight"),
        )
    )
