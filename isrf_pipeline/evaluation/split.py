"""Which events are fitted on and which are held out: leave-one-out over each client's distinct items, or by time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from isrf_pipeline.config.settings import SplitSettings
from isrf_pipeline.errors import InputRefusedError
from isrf_pipeline.evaluation.meetings import first_meeting
from isrf_pipeline.evaluation.temporal import window_day, with_temporal_part

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
    return _parts(interactions, split, "train")


def validation_events(interactions: DataFrame, split: SplitSettings) -> DataFrame:
    """Events of each client's validation item, as far as they lie before the test item; see :func:`with_part`."""
    return _parts(interactions, split, "validation")


def test_events(interactions: DataFrame, split: SplitSettings) -> DataFrame:
    """Events of each client's test item; see :func:`with_part`."""
    return _parts(interactions, split, "test")


def events_before_test(interactions: DataFrame, split: SplitSettings) -> DataFrame:
    """What a client's list may be computed from when test events are measured: all that is known before them."""
    return _parts(interactions, split, "train", "validation", "known")


def listing_day(
    interactions: DataFrame, split: SplitSettings, window: Literal["validation", "test"]
) -> int | None:
    """Day since 1970 that the lists which a part measures are for; None: each client's day of the last known event.

    A night lists for the day on which it runs, so under ``temporal`` that is the first day of the window for everybody.
    The part that leave-one-out holds out of a history follows the event before it, and no later day may be known.

    Parameters
    ----------
    interactions
        At least user_id, item_id and ts.
    split
        Policy of the split.
    window
        Which part.
    """
    return window_day(interactions, split, window) if split.policy == "temporal" else None


# pytest would take the function for a test of its own where a test module imports it.
test_events.__test__ = False  # type: ignore[attr-defined]


def with_part(interactions: DataFrame, split: SplitSettings) -> DataFrame:
    """Add the column ``part``: train, validation, test, known, or null for an event that no part may use.

    Under ``leave_one_out`` see :func:`with_last_items_held_out`, under ``temporal``
    :func:`isrf_pipeline.evaluation.temporal.with_temporal_part`; under ``none`` everything is training.

    Of a share of clients, ``unseen_clients``, drawn by a hash of their identifier, nothing is fitted on and nothing
    chosen by: what would be training or validation is ``known``. It is their history when lists are made for them, as
    befits a client who came after the night's model was fitted.

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
    from pyspark.sql import functions as F

    if split.policy == "none":
        return interactions.withColumn("part", F.lit("train"))
    if split.policy == "temporal":
        rows = with_temporal_part(interactions, split)
    else:
        rows = with_last_items_held_out(interactions, split)
    if split.unseen_clients == 0:
        return rows
    # Salted: other draws among clients go by the plain hash of the identifier.
    drawn = F.pmod(F.xxhash64(F.lit("unseen"), "user_id"), F.lit(10_000)) < split.unseen_clients * 10_000
    fitted_on = F.col("part").isin("train", "validation")
    return rows.withColumn("part", F.when(drawn & fitted_on, "known").otherwise(F.col("part")))


def with_last_items_held_out(interactions: DataFrame, split: SplitSettings) -> DataFrame:
    """Add the column ``part`` by leave-one-out: train, validation, test, or null.

    A client's distinct items are ordered by their first event; items that were first met at the same instant are
    ordered by a hash of client and item, never by identifier. The last item is held out for test and the one before
    for validation, each with its events of every type, so that no earlier view of a held-out item is fitted on. An
    event of a training item that lies after the validation item's first event, and one of the validation item after
    the test item's first event, is nobody's: it happened after the point of the split. Where each item occurs once
    this is plain leave-one-out. Clients with fewer than ``min_train_events + 2`` distinct items are training as a
    whole.

    Parameters
    ----------
    interactions
        At least user_id, item_id and ts; one shuffle by user_id.
    split
        How many training events a client needs.

    Returns
    -------
    DataFrame
        Columns of ``interactions`` and ``part`` (string).
    """
    from pyspark.sql import Window
    from pyspark.sql import functions as F

    client = Window.partitionBy("user_id")
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
        .withColumn("_met", first_meeting())
        .withColumn("_happened", happened)
        .withColumn("_place", F.dense_rank().over(client.orderBy(F.col("_met").desc())))
        .withColumn("_items", F.max("_place").over(client))
        .withColumn("_test_met", F.max(F.when(F.col("_place") == 1, F.col("_met"))).over(client))
        .withColumn("_validation_met", F.max(F.when(F.col("_place") == 2, F.col("_met"))).over(client))
        .select(*interactions.columns, part.alias("part"))
    )


def require_held_out_events(interactions: DataFrame, split: SplitSettings) -> None:
    """Refuse a temporal split that leaves a part empty, as it must where events have no dates.

    Raises
    ------
    InputRefusedError
        If no event would be training, or none test.
    """
    from pyspark.sql import functions as F

    if split.policy != "temporal":
        return
    row = (
        with_part(interactions, split)
        .agg(
            F.min("ts").cast("date").alias("first"),
            F.max("ts").cast("date").alias("last"),
            *(F.count(F.when(F.col("part") == part, 1)).alias(part) for part in ("train", "test")),
        )
        .first()
    )
    assert row is not None
    for part in ("train", "test"):
        if row["first"] is not None and row[part] == 0:
            raise InputRefusedError(
                "split.policy=temporal",
                f"no {part} event is left of events from {row['first']} to {row['last']} (a set without dates has one "
                "day)",
                "set split.validation_from and split.test_from to days in between, or split.policy to leave_one_out",
            )


def describe_split(split: SplitSettings) -> str:
    """One sentence for whoever reads figures."""
    if split.policy == "none":
        return "none: everything is fitted on and nothing is measured"
    if split.policy == "temporal":
        windows = (
            f"validation from {split.validation_from}, test from {split.test_from}"
            if split.test_from is not None
            else f"the newest {split.test_share:.0%} of the events are the test window, the "
            f"{split.validation_share:.0%} before them the validation window"
        )
        text = f"temporal; {windows}; per client the first new item of a window"
    else:
        text = "leave-one-out"
    text += "; statistics from training events, input at test time training and validation events"
    if split.unseen_clients:
        text += f"; {split.unseen_clients:.0%} of the clients are unseen in training"
    return text


def _parts(interactions: DataFrame, split: SplitSettings, *names: str) -> DataFrame:
    from pyspark.sql import functions as F

    # Whoever asks for another part of the same events, or again for this one, finds the split computed: Spark
    # recognises the plan. The runner drops it, with whatever else a stage keeps, when the stage has ended.
    parts = with_part(interactions, split).persist()
    return parts.where(F.col("part").isin(*names)).drop("part")
