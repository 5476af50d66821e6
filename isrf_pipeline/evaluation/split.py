"""Which events are fitted on and which are held out: leave-one-out over each client's distinct items."""

from __future__ import annotations

from typing import TYPE_CHECKING

from isrf_pipeline.config.settings import SplitSettings

if TYPE_CHECKING:
    from pyspark.sql import DataFrame


def training_events(interactions: DataFrame, split: SplitSettings) -> DataFrame:
    """Events that statistics, graphs, models and texts may be fitted on.

    Parameters
    ----------
    interactions
        At least user_id, item_id and ts.
    split
        Policy of the split.

    Returns
    -------
    DataFrame
        Columns as in ``interactions``.
    """
    return _part(interactions, split, "train")


def validation_events(interactions: DataFrame, split: SplitSettings) -> DataFrame:
    """Events of each client's last item but one, as far as they lie before the test item; see :func:`with_part`."""
    return _part(interactions, split, "validation")


def test_events(interactions: DataFrame, split: SplitSettings) -> DataFrame:
    """Events of each client's last item; see :func:`with_part`."""
    return _part(interactions, split, "test")


# pytest would take the function for a test of its own where a test module imports it.
test_events.__test__ = False  # type: ignore[attr-defined]


def with_part(interactions: DataFrame, split: SplitSettings) -> DataFrame:
    """Add the column ``part``: train, validation, test, or null for an event that no part may use.

    A client's distinct items are ordered by their first event; items that were first met at the same instant are
    ordered by a hash of client and item, never by identifier. The last item is held out for test and the one before
    for validation, each with its events of every type, so that no earlier view of a held-out item is fitted on. An
    event of a training item that lies after the validation item's first event, and one of the validation item after
    the test item's first event, is nobody's: it happened after the point of the split. Where each item occurs once
    this is plain leave-one-out. Clients with fewer than ``min_train_events + 2`` distinct items, and all clients
    under the policy ``none``, are training as a whole.

    Parameters
    ----------
    interactions
        At least user_id, item_id and ts; one shuffle by user_id.
    split
        Policy of the split.

    Returns
    -------
    DataFrame
        Columns of ``interactions`` and ``part`` (string).
    """
    from pyspark.sql import Window
    from pyspark.sql import functions as F

    if split.policy == "none":
        return interactions.withColumn("part", F.lit("train"))
    client = Window.partitionBy("user_id")
    met = F.struct(
        F.min("ts").over(Window.partitionBy("user_id", "item_id")).alias("first"),
        F.xxhash64("user_id", "item_id").alias("tie"),
        F.col("item_id").alias("item"),
    )
    happened = F.struct(
        F.col("ts").alias("first"), F.col("_met.tie").alias("tie"), F.col("item_id").alias("item")
    )
    part = (
        F.when(F.col("_items") < split.min_train_events + 2, "train")
        .when(F.col("_place") == 1, "test")
        .when((F.col("_place") == 2) & (F.col("_happened") < F.col("_test_met")), "validation")
        .when((F.col("_place") > 2) & (F.col("_happened") < F.col("_validation_met")), "train")
    )
    return (
        # Both windows are satisfied by this one shuffle; without it Spark shuffles by client and item first.
        interactions.repartition("user_id")
        .withColumn("_met", met)
        .withColumn("_happened", happened)
        .withColumn("_place", F.dense_rank().over(client.orderBy(F.col("_met").desc())))
        .withColumn("_items", F.max("_place").over(client))
        .withColumn("_test_met", F.max(F.when(F.col("_place") == 1, F.col("_met"))).over(client))
        .withColumn("_validation_met", F.max(F.when(F.col("_place") == 2, F.col("_met"))).over(client))
        .select(*interactions.columns, part.alias("part"))
    )


def _part(interactions: DataFrame, split: SplitSettings, name: str) -> DataFrame:
    from pyspark.sql import functions as F

    # Whoever asks for another part of the same events, or again for this one, finds the split computed: Spark
    # recognises the plan. The runner drops it, with whatever else a stage keeps, when the stage has ended.
    parts = with_part(interactions, split).persist()
    return parts.where(F.col("part") == name).drop("part")
