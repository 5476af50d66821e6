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
