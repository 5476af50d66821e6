"""Accuracy of ranked lists against held-out items."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pyspark.sql import DataFrame


def ranking_metrics(
    lists: DataFrame, held_out: DataFrame, cutoffs: Sequence[int] = (5, 10)
) -> dict[str, float]:
    """HR, NDCG and MRR of one held-out item a client, over all clients with one.

    A client without a list, or whose list lacks the item, counts as a miss. With one relevant item the ideal gain
    is 1, so NDCG@k is ``1 / log2(rank + 1)`` within the first k places (Järvelin and Kekäläinen, 2002).

    Parameters
    ----------
    lists
        user_id, rank (from 1), item_id; without items of the client's own input.
    held_out
        user_id, item_id: one row a client.
    cutoffs
        List lengths to measure at.

    Returns
    -------
    dict
        "HR@k", "NDCG@k" and "MRR@k" for each cutoff.
    """
    from pyspark.sql import functions as F

    found = held_out.join(lists.select("user_id", "item_id", "rank"), ["user_id", "item_id"], "left")
    sums = []
    for k in cutoffs:
        hit = F.col("rank") <= k
        sums.append(F.sum(F.when(hit, 1.0).otherwise(0.0)).alias(f"HR@{k}"))
        sums.append(F.sum(F.when(hit, 1 / F.log2(F.col("rank") + 1)).otherwise(0.0)).alias(f"NDCG@{k}"))
        sums.append(F.sum(F.when(hit, 1 / F.col("rank")).otherwise(0.0)).alias(f"MRR@{k}"))
    row = found.agg(F.count_distinct("user_id").alias("clients"), *sums).first()
    clients = row["clients"] if row is not None else 0
    names = [f"{metric}@{k}" for k in cutoffs for metric in ("HR", "NDCG", "MRR")]
    return {name: float(row[name]) / clients if row is not None and clients else 0.0 for name in names}
