"""Clients' histories as lists of item codes: the one shape in which events reach the models."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from isrf_pipeline.graphs.profiles import ordered_history

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession


def item_codes(spark: SparkSession, item_ids: NDArray[np.str_]) -> DataFrame:
    """Table of item_id and code (int), to be broadcast in joins."""
    import pyarrow as pa

    codes = pa.table(
        {
            "item_id": pa.array(item_ids.tolist(), pa.string()),
            "code": np.arange(len(item_ids), dtype=np.int32),
        }
    )
    return spark.createDataFrame(codes)


def coded_histories(events: DataFrame, codes: DataFrame) -> DataFrame:
    """One row a client: distinct items, newest first.

    See :func:`isrf_pipeline.graphs.profiles.ordered_history` for the order.

    Parameters
    ----------
    events
        user_id, item_id, ts, weight.
    codes
        item_id, code.

    Returns
    -------
    DataFrame
        user_id, codes (array<int>), weights (array<float>), days (array<int>: day since 1970 of each item's latest
        event), all newest first.
    """
    from pyspark.sql import functions as F

    coded = ordered_history(events.join(F.broadcast(codes), "item_id"), value="code")
    days = F.transform("times", lambda time: F.unix_date(time.cast("date")))
    return coded.select("user_id", F.col("items").alias("codes"), "weights", days.alias("days"))


def held_out_targets(events: DataFrame, codes: DataFrame) -> DataFrame:
    """What held-out events ask for: one row a client and item, user_id and target (int: the item's code).

    Parameters
    ----------
    events
        Held-out events: user_id, item_id. Items that have no code are left out.
    codes
        item_id, code.
    """
    from pyspark.sql import functions as F

    pairs = events.select("user_id", "item_id").distinct()
    return pairs.join(F.broadcast(codes), "item_id").select("user_id", F.col("code").alias("target"))


def item_popularity(histories: DataFrame, n_items: int) -> NDArray[np.float32]:
    """Clients whose history has an item, by the item's code: n_items values."""
    from pyspark.sql import functions as F

    counts = histories.select(F.explode("codes").alias("code")).groupBy("code").count().toArrow()
    popularity = np.zeros(n_items, np.float32)
    popularity[counts.column("code").to_numpy()] = counts.column("count").to_numpy()
    return popularity
