"""Other recommenders under the same protocol and in the same run, so that figures stand side by side."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from isrf_pipeline.config.settings import EvaluationSettings

if TYPE_CHECKING:
    from pyspark.sql import DataFrame


@dataclass(frozen=True)
class PeerLists:
    """What a peer recommends and what it took.

    Attributes
    ----------
    lists
        user_id, rank, item_id; persisted.
    wall_seconds
        Seconds by step, and "total".
    """

    lists: DataFrame
    wall_seconds: dict[str, float]


def popularity_lists(
    training: DataFrame, known: DataFrame, clients: DataFrame, top_n: int, settings: EvaluationSettings
) -> PeerLists:
    """Rank items by the number of clients who have them, without each client's own.

    Parameters
    ----------
    training
        Distinct user_id, item_id that statistics may be taken from.
    known
        Distinct user_id, item_id that lists may not hold.
    clients
        user_id of everybody who gets a list.
    top_n
        Length of a list.
    settings
        Unused here; all peers share one signature.
    """
    from pyspark.sql import Window
    from pyspark.sql import functions as F

    started = time.perf_counter()
    counts = training.groupBy("item_id").agg(F.count("*").alias("clients"))
    longest = known.groupBy("user_id").count().agg(F.max("count")).first()
    head = top_n + int((longest[0] if longest is not None else 0) or 0)
    # Equal counts are ordered by a hash: at random, never in anybody's favour.
    ordered = counts.orderBy(F.col("clients").desc(), F.xxhash64("item_id")).limit(head)
    ranked = ordered.withColumn(
        "place", F.row_number().over(Window.orderBy(F.col("clients").desc(), F.xxhash64("item_id")))
    ).select("item_id", "place")
    remaining = clients.crossJoin(F.broadcast(ranked)).join(known, ["user_id", "item_id"], "left_anti")
    lists = _cut(remaining, F.col("place"), top_n).persist()
    lists.count()
    seconds = time.perf_counter() - started
    return PeerLists(lists, {"recommend": seconds, "total": seconds})


def mllib_als_lists(
    training: DataFrame, known: DataFrame, clients: DataFrame, top_n: int, settings: EvaluationSettings
) -> PeerLists:
    """Spark MLlib's implicit ALS with its own recommendForAllUsers, without each client's own items.

    Parameters
    ----------
    training
        Distinct user_id, item_id that the peer is fitted on.
    known
        Distinct user_id, item_id that lists may not hold.
    clients
        user_id of everybody who gets a list; ALS has none for clients it has not seen.
    top_n
        Length of a list.
    settings
        Rank, iterations, alpha and regularisation.
    """
    from pyspark.ml.recommendation import ALS
    from pyspark.sql import Window
    from pyspark.sql import functions as F

    started = time.perf_counter()
    users = training.select("user_id").distinct()
    items = training.select("item_id").distinct()
    user_codes = users.withColumn(
        "user", F.row_number().over(Window.orderBy(F.xxhash64("user_id")))
    ).persist()
    item_codes = items.withColumn(
        "item", F.row_number().over(Window.orderBy(F.xxhash64("item_id")))
    ).persist()

    def coded(pairs: DataFrame) -> DataFrame:
        return (
            pairs.join(F.broadcast(user_codes), "user_id")
            .join(F.broadcast(item_codes), "item_id")
            .select("user", "item", F.lit(1.0).alias("rating"))
            .persist()
        )

    coded_known = coded(known)
    longest = coded_known.groupBy("user").count().agg(F.max("count")).first()
    als = ALS(
        rank=settings.als_rank,
        maxIter=settings.als_iterations,
        regParam=settings.als_regularization,
        alpha=settings.als_alpha,
        implicitPrefs=True,
        userCol="user",
        itemCol="item",
        ratingCol="rating",
        seed=0,
    )
    model = als.fit(coded(training))
    fitted = time.perf_counter()
    head = top_n + int((longest[0] if longest is not None else 0) or 0)
    offered = model.recommendForAllUsers(head).select("user", F.explode("recommendations").alias("offer"))
    remaining = offered.select("user", "offer.item", "offer.rating").join(
        coded_known, ["user", "item"], "left_anti"
    )
    named = remaining.join(F.broadcast(user_codes), "user").join(F.broadcast(item_codes), "item")
    lists = _cut(named, F.col("rating").desc(), top_n).persist()
    lists.count()
    finished = time.perf_counter()
    return PeerLists(
        lists, {"fit": fitted - started, "recommend": finished - fitted, "total": finished - started}
    )


def _cut(offers: DataFrame, order, top_n: int) -> DataFrame:  # type: ignore[no-untyped-def]
    from pyspark.sql import Window
    from pyspark.sql import functions as F

    place = F.row_number().over(Window.partitionBy("user_id").orderBy(order, F.xxhash64("item_id")))
    return offers.withColumn("rank", place).where(F.col("rank") <= top_n).select("user_id", "rank", "item_id")


PEERS: dict[str, Callable[[DataFrame, DataFrame, DataFrame, int, EvaluationSettings], PeerLists]] = {
    "popularity": popularity_lists,
    "mllib_als": mllib_als_lists,
}
