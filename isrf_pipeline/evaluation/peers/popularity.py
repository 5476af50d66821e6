"""The peer popularity: what most clients have."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from isrf_pipeline.config.settings import EvaluationSettings
from isrf_pipeline.evaluation.peers.lists import PeerLists, cut_to_best

if TYPE_CHECKING:
    from pyspark.sql import DataFrame


def popularity_lists(
    training: DataFrame, known: DataFrame, clients: DataFrame, top_n: int, settings: EvaluationSettings
) -> PeerLists:
    """Rank items by the number of clients who have them, without each client's own.

    Parameters
    ----------
    training, known, clients, top_n
        See :data:`isrf_pipeline.evaluation.peers.lists.Peer`; times are not used.
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
    lists = cut_to_best(remaining, F.col("place"), top_n).persist()
    lists.count()
    seconds = time.perf_counter() - started
    return PeerLists(lists, {"recommend": seconds, "total": seconds})
