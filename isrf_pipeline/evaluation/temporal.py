"""The split by time: what a night knew on one day, and what its clients chose from that day on."""

from __future__ import annotations

import datetime
from typing import TYPE_CHECKING, Literal

from isrf_pipeline.config.settings import SplitSettings
from isrf_pipeline.evaluation.meetings import first_meeting

if TYPE_CHECKING:
    from pyspark.sql import DataFrame


def with_temporal_part(interactions: DataFrame, split: SplitSettings) -> DataFrame:
    """Add the column ``part``: train, validation, test, known, or null for an event that no part may use.

    Events before ``validation_from`` are training. In the window from there to ``test_from`` the first item that is
    new to the client is his validation item; from ``test_from`` on, the first item that is new to him is his test item.
    One item a client keeps measures comparable with leave-one-out and clients of equal weight, and the first is the one
    that a list of that day was for: later ones may follow from it. Items that were first met at one instant are ordered
    by a hash of client and item. What else happened in the validation window is known when lists for the test window
    are made, and is fitted on by nothing; what else happened in the test window is nobody's.

    Parameters
    ----------
    interactions
        At least user_id, item_id and ts.
    split
        Days of both windows, or the share of the events that each is to have; ``min_train_events`` is not asked:
        clients who first appear in a window are what a night meets.

    Returns
    -------
    DataFrame
        Columns of ``interactions`` and ``part`` (string).
    """
    from pyspark.sql import Window
    from pyspark.sql import functions as F

    client = Window.partitionBy("user_id")
    first = F.col("_met.first")
    in_validation = (first >= F.col("_validation_from")) & (first < F.col("_test_from"))
    part = (
        F.when(F.col("ts") < F.col("_validation_from"), "train")
        .when((F.col("ts") < F.col("_test_from")) & (F.col("_met") == F.col("_validation_met")), "validation")
        .when(F.col("ts") < F.col("_test_from"), "known")
        .when(F.col("_met") == F.col("_test_met"), "test")
    )
    return (
        _with_windows(interactions, split)
        # Both windows of Spark are satisfied by this one shuffle; see the split by leave-one-out.
        .repartition("user_id")
        .withColumn("_met", first_meeting())
        .withColumn("_validation_met", F.min(F.when(in_validation, F.col("_met"))).over(client))
        .withColumn("_test_met", F.min(F.when(first >= F.col("_test_from"), F.col("_met"))).over(client))
        .select(*interactions.columns, part.alias("part"))
    )


def window_day(interactions: DataFrame, split: SplitSettings, window: Literal["validation", "test"]) -> int:
    """First day of a window, counted from 1970: the day that the lists which the window measures are for.

    Parameters
    ----------
    interactions
        At least ts; read only where the settings name no day.
    split
        Of policy temporal.
    window
        Which.
    """
    told = split.validation_from if window == "validation" else split.test_from
    if told is not None:
        return (datetime.date.fromisoformat(told) - datetime.date(1970, 1, 1)).days
    first = f"unix_date(cast(_{window}_from AS date)) AS day"
    row = _newest_shares(interactions, split).selectExpr(first).first()
    assert row is not None
    return int(row["day"])


def _with_windows(interactions: DataFrame, split: SplitSettings) -> DataFrame:
    """Add the instants at which the validation window and the test window begin."""
    from pyspark.sql import functions as F

    if split.validation_from is not None and split.test_from is not None:
        return interactions.withColumns(
            {
                "_validation_from": F.lit(split.validation_from).cast("date").cast("timestamp"),
                "_test_from": F.lit(split.test_from).cast("date").cast("timestamp"),
            }
        )
    return interactions.crossJoin(F.broadcast(_newest_shares(interactions, split)))


def _newest_shares(interactions: DataFrame, split: SplitSettings) -> DataFrame:
    """One row: both instants where each window has a share of the events.

    Exact and over whole days, so that the windows depend on nothing but how many events each day has.
    """
    from pyspark.sql import functions as F

    def day_after(share: float) -> str:
        quantile = f"percentile_disc({1 - share:.9f}) WITHIN GROUP (ORDER BY unix_date(cast(ts AS date)))"
        return f"cast(date_from_unix_date(cast({quantile} AS int) + 1) AS timestamp)"

    return interactions.selectExpr("ts").agg(
        F.expr(day_after(split.validation_share + split.test_share)).alias("_validation_from"),
        F.expr(day_after(split.test_share)).alias("_test_from"),
    )
