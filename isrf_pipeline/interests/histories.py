"""Clients' histories as lists of item codes: the one shape in which events reach the models."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

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

    An item counts at its latest event and with its strongest event type. Events at the same instant are ordered by
    a hash, never by identifier, so that names carry no information.

    Parameters
    ----------
    events
        user_id, item_id, ts, weight.
    codes
        item_id, code.

    Returns
    -------
    DataFrame
        user_id, codes (array<int>), weights (array<float>), both newest first.
    """
    from pyspark.sql import functions as F

    latest = (
        events.groupBy("user_id", "item_id")
        .agg(F.max("ts").alias("ts"), F.max("weight").alias("weight"))
        .join(F.broadcast(codes), "item_id")
    )
    ordered = latest.groupBy("user_id").agg(
        F.sort_array(
            F.collect_list(F.struct("ts", F.xxhash64("item_id").alias("tie"), "code", "weight")), asc=False
        ).alias("events")
    )
    return ordered.select(
        "user_id",
        F.transform("events", lambda e: e["code"]).alias("codes"),
        F.transform("events", lambda e: e["weight"]).cast("array<float>").alias("weights"),
    )
