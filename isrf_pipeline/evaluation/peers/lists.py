"""What every peer hands back, and what they share when they rank and number."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from isrf_pipeline.config.settings import EvaluationSettings

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame


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


Peer = Callable[["DataFrame", "DataFrame", "DataFrame", int, EvaluationSettings], PeerLists]
"""A peer is called with

* training: user_id, item_id, ts, one row a pair, dated with its latest event: what may be fitted on;
* known: the same of all events before the held-out one: what a list is computed from and may not hold;
* clients: user_id of everybody who gets a list;
* the length of a list, and the settings of evaluation.
"""


def latest_of_pairs(events: DataFrame) -> DataFrame:
    """Distinct pairs of client and item, each dated with its latest event.

    Returns
    -------
    DataFrame
        user_id, item_id, ts.
    """
    from pyspark.sql import functions as F

    return events.groupBy("user_id", "item_id").agg(F.max("ts").alias("ts"))


def cut_to_best(offers: DataFrame, order: Column, top_n: int) -> DataFrame:
    """Each client's first ``top_n`` offers by ``order``, equal ones by a hash of the item.

    Returns
    -------
    DataFrame
        user_id, rank (from 1), item_id.
    """
    from pyspark.sql import Window
    from pyspark.sql import functions as F

    place = F.row_number().over(Window.partitionBy("user_id").orderBy(order, F.xxhash64("item_id")))
    return offers.withColumn("rank", place).where(F.col("rank") <= top_n).select("user_id", "rank", "item_id")


def numbered(pairs: DataFrame, identifier: str, code: str) -> DataFrame:
    """Number the distinct identifiers from 0 in the order of their hash, which favours none where scores are equal.

    Returns
    -------
    DataFrame
        ``identifier`` and ``code`` (int); persisted.
    """
    from pyspark.sql import Window
    from pyspark.sql import functions as F

    by_hash = Window.orderBy(F.xxhash64(identifier), F.col(identifier))
    distinct = pairs.select(identifier).distinct()
    return distinct.withColumn(code, F.row_number().over(by_hash) - 1).persist()
