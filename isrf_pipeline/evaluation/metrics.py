"""Accuracy of ranked lists against held-out items: gains of each client, their means and intervals by slice."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from isrf_pipeline.evaluation.bootstrap import paired_intervals

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

CUTOFFS = (5, 10, 20)
#: Metrics whose differences between two systems are reported with intervals.
_COMPARED = ("NDCG@10", "HR@10")


def accuracy(
    systems: Mapping[str, DataFrame], judged: DataFrame, cutoffs: Sequence[int] = CUTOFFS
) -> dict[tuple[str, str], float]:
    """HR, NDCG and MRR of one held-out item a client, by slice, and how far the first system is from each other.

    A client without a list, or whose list lacks the item, counts as a miss. With one relevant item the ideal gain
    is 1, so NDCG@k is ``1 / log2(rank + 1)`` within the first k places (Järvelin and Kekäläinen, 2002).

    Parameters
    ----------
    systems
        Lists by name, the one that others are compared with first: user_id, rank (from 1), item_id; without items of
        the client's own input.
    judged
        user_id, item_id (held out) and slices (array<string>): one row a client.
    cutoffs
        List lengths to measure at.

    Returns
    -------
    dict
        (metric, slice) to value: ``<system>.<HR|NDCG|MRR>@<k>``, and for NDCG@10 and HR@10
        ``<first>.<metric>_over_<other>`` with ``.low`` and ``.high``, the bounds of its 95 % interval by a paired
        bootstrap over clients. Empty without clients.
    """
    from pyspark.sql import functions as F

    rows = judged.withColumn("client", F.xxhash64("user_id"))
    columns: dict[str, str] = {}
    for number, (system, lists) in enumerate(systems.items()):
        rank = f"rank_{number}"
        found = lists.select("user_id", "item_id", F.col("rank").alias(rank))
        rows = rows.join(found, ["user_id", "item_id"], "left")
        for k in cutoffs:
            hit = F.col(rank) <= k
            for metric, gain in (
                ("HR", F.lit(1.0)),
                ("NDCG", 1 / F.log2(F.col(rank) + 1.0)),
                ("MRR", 1.0 / F.col(rank)),
            ):
                column = f"{metric}_{k}_{number}"
                columns[column] = f"{system}.{metric}@{k}"
                rows = rows.withColumn(column, F.coalesce(F.when(hit, gain), F.lit(0.0)))
    first, *others = systems
    by_name = {name: column for column, name in columns.items()}
    compared: dict[str, str] = {}
    for other in others:
        for metric in _COMPARED:
            ours, theirs = by_name.get(f"{first}.{metric}"), by_name.get(f"{other}.{metric}")
            if ours is not None and theirs is not None:
                compared[f"{ours}_{theirs}"] = f"{first}.{metric}_over_{other}"
                rows = rows.withColumn(f"{ours}_{theirs}", F.col(ours) - F.col(theirs))
    values: dict[tuple[str, str], float] = {}
    for (column, slice_), interval in paired_intervals(rows, [*columns, *compared]).items():
        if column in columns:
            values[columns[column], slice_] = interval.mean
        else:
            name = compared[column]
            values[name, slice_] = interval.mean
            values[f"{name}.low", slice_] = interval.low
            values[f"{name}.high", slice_] = interval.high
    return values
