"""The peer mllib_als: what Spark itself brings."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from isrf_pipeline.config.settings import EvaluationSettings
from isrf_pipeline.evaluation.peers.lists import PeerLists, cut_to_best, numbered

if TYPE_CHECKING:
    from pyspark.sql import DataFrame


def mllib_als_lists(
    training: DataFrame, known: DataFrame, clients: DataFrame, top_n: int, settings: EvaluationSettings
) -> PeerLists:
    """Spark MLlib's implicit ALS with its own recommendForAllUsers, without each client's own items.

    Parameters
    ----------
    training, known, clients, top_n
        See :data:`isrf_pipeline.evaluation.peers.lists.Peer`; times are not used. ALS has no list for clients whom it
        has not seen in training, and a client's factors do not know what came after.
    settings
        Rank, iterations, alpha and regularisation.
    """
    from pyspark.ml.recommendation import ALS
    from pyspark.sql import functions as F

    started = time.perf_counter()
    user_codes = numbered(training, "user_id", "user")
    item_codes = numbered(training, "item_id", "item")

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
        rank=settings.mllib_als.rank,
        maxIter=settings.mllib_als.iterations,
        regParam=settings.mllib_als.regularization,
        alpha=settings.mllib_als.alpha,
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
    lists = cut_to_best(named, F.col("rating").desc(), top_n).persist()
    lists.count()
    finished = time.perf_counter()
    return PeerLists(
        lists, {"fit": fitted - started, "recommend": finished - fitted, "total": finished - started}
    )
