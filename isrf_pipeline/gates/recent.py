"""How well the lists of the last published night foresaw what clients have chosen since."""

from __future__ import annotations

import datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pyspark.sql import DataFrame


def recent_accuracy(
    lists: DataFrame, interactions: DataFrame, listed_on: datetime.date, event_types: Sequence[str]
) -> tuple[int, int]:
    """Clients with a list who have chosen something new since, and how many of them found it in their list.

    Parameters
    ----------
    lists
        user_id and item_id, of the night ``listed_on``.
    interactions
        user_id, item_id, event_type and ts.
    listed_on
        The night: what happened up to its end (UTC) was known.
    event_types
        Types of events that are a choice; empty: all.
    """
    from pyspark.sql import functions as F

    end = F.lit((listed_on + datetime.timedelta(days=1)).isoformat()).cast("timestamp")
    choices = interactions.where(F.col("event_type").isin(list(event_types))) if event_types else interactions
    known = choices.where(F.col("ts") < end).select("user_id", "item_id")
    new = choices.where(F.col("ts") >= end).select("user_id", "item_id").distinct()
    judged = new.join(known, ["user_id", "item_id"], "left_anti").join(
        lists.select("user_id").distinct(), "user_id", "left_semi"
    )
    found = judged.join(
        lists.select("user_id", "item_id", F.lit(True).alias("found")), ["user_id", "item_id"], "left"
    )
    each = found.groupBy("user_id").agg(F.coalesce(F.bool_or("found"), F.lit(False)).alias("found"))
    row = each.agg(F.count("*"), F.count_if("found")).first()
    return (int(row[0]), int(row[1])) if row is not None else (0, 0)
