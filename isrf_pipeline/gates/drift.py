"""How far a night's lists have moved from those of earlier nights: population stability indices."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Hashable

    from pyspark.sql import DataFrame

#: Groups of equal size in the earlier nights.
GROUPS = 10
#: Shares below it count as this much: an empty group would make the index infinite.
SMALLEST_SHARE = 0.005
#: Of the sample that group bounds come from.
_PERCENTILE_ACCURACY = 10_000


def population_stability(before: Mapping[Hashable, float], now: Mapping[Hashable, float]) -> float:
    """Population stability index: the sum over groups of (q - p) ln(q / p).

    It is the symmetric Kullback-Leibler divergence (Jeffreys 1946) under the name that credit scoring gave it; by
    convention below .1 says that nothing moved, above .25 that much did.

    Parameters
    ----------
    before, now
        Rows by group; groups that one side lacks count as empty there. Neither may be empty as a whole.

    Returns
    -------
    float
        0 for equal shares, else positive; each share counts as at least :data:`SMALLEST_SHARE`.
    """
    groups = sorted({*before, *now}, key=repr)
    p, q = (
        np.maximum(
            np.array([rows.get(group, 0.0) for group in groups], float) / sum(rows.values()), SMALLEST_SHARE
        )
        for rows in (before, now)
    )
    return float(np.sum((q - p) * np.log(q / p)))


def score_drift(before: DataFrame, now: DataFrame) -> float | None:
    """Index of the scores, in groups of equal size before; None where either side has no rows.

    Parameters
    ----------
    before, now
        Rows with a score.
    """
    from pyspark.sql import functions as F

    shares = [place / GROUPS for place in range(1, GROUPS)]
    row = before.agg(F.percentile_approx("score", shares, _PERCENTILE_ACCURACY)).first()
    if row is None or row[0] is None:
        return None
    # Scores that many rows share make bounds that coincide.
    bounds = sorted(set(row[0]))

    def grouped(rows: DataFrame) -> dict[Hashable, float]:
        group = F.lit(0)
        for bound in bounds:
            group = group + (F.col("score") > bound).cast("int")
        return {row["group"]: row["count"] for row in rows.groupBy(group.alias("group")).count().collect()}

    counted = grouped(now)
    return population_stability(grouped(before), counted) if counted else None


def item_drift(before: DataFrame, now: DataFrame) -> float | None:
    """Index of the exposure of items: in ten groups of equal exposure before, and items that were in no list.

    Parameters
    ----------
    before, now
        Rows with an item_id, one a place of a list.
    """
    from pyspark.sql import Window
    from pyspark.sql import functions as F

    exposure = before.groupBy("item_id").agg(F.count("*").alias("before"))
    ordered = Window.orderBy(F.desc("before"), "item_id")
    reached = F.sum("before").over(ordered.rowsBetween(Window.unboundedPreceding, -1))
    total = F.sum("before").over(Window.partitionBy())
    group = F.floor(F.coalesce(reached, F.lit(0)) * GROUPS / total)
    grouped = exposure.withColumn("group", group.cast("int"))
    shown = now.groupBy("item_id").agg(F.count("*").alias("now"))
    rows = (
        grouped.join(shown, "item_id", "full")
        .groupBy(F.coalesce("group", F.lit(-1)).alias("group"))
        .agg(F.sum("before").alias("before"), F.sum("now").alias("now"))
        .collect()
    )
    earlier: dict[Hashable, float] = {row["group"]: row["before"] or 0 for row in rows}
    later: dict[Hashable, float] = {row["group"]: row["now"] or 0 for row in rows}
    if not sum(earlier.values()) or not sum(later.values()):
        return None
    return population_stability(earlier, later)
