"""Research sets: events that are ordered by position, with days at best, and a catalogue without clients."""

from __future__ import annotations

import datetime
from typing import TYPE_CHECKING

from isrf_pipeline.config.settings import IngestSettings, ItemColumns, ItemSource, ResearchSource
from isrf_pipeline.ingest.interactions import with_row_rules
from isrf_pipeline.ingest.parsing import instant, trimmed
from isrf_pipeline.ingest.sources import Source, read_rows

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame, SparkSession

#: Day of events in sets without dates.
_NO_DATE = "2014-01-01"
_COLUMNS = ("user_id", "item_id", "position", "event_date")


def research_items(research: ResearchSource) -> ItemSource:
    """The catalogue of a research set."""
    columns = ItemColumns(brand="brand", categories="categories", price="price", attributes=["keyphrases"])
    return ItemSource(path=f"{research.path.rstrip('/')}/items.jsonl.gz", format="jsonl", columns=columns)


def research_events_source(research: ResearchSource) -> Source:
    """The events of a research set."""
    return Source("interactions", f"{research.path.rstrip('/')}/interactions.csv.gz", "csv")


def read_research_events(
    spark: SparkSession, research: ResearchSource, settings: IngestSettings, run_date: datetime.date
) -> DataFrame:
    """Read the events of a research set.

    The order of a client's events by timestamp is their order by position: an event is dated with the newest day
    that the client has shown so far and with its position as seconds. Clients without any day get one minute a
    position. With ``shuffle_ties`` the events of one day are put in an order by a hash of the seed, client and item.

    Parameters
    ----------
    spark
        The session.
    research
        Folder and seed.
    settings
        Rules and weights.
    run_date
        The night; later events are future ones.

    Returns
    -------
    DataFrame
        ``EVENT_COLUMNS``.

    Raises
    ------
    InputRefusedError
        If the file is missing or lacks a column.
    """
    from pyspark.sql import Window
    from pyspark.sql import functions as F

    given = F.col("given")
    # The file is one gzip stream: this shuffle also spreads it, and the windows here and later build on it.
    rows = (
        read_rows(spark, research_events_source(research), _COLUMNS)
        .select(
            "raw",
            "malformed",
            trimmed(given["user_id"]).alias("user_id"),
            trimmed(given["item_id"]).alias("item_id"),
            trimmed(given["position"]).try_cast("int").alias("position"),
            trimmed(given["event_date"]).alias("written_day"),
        )
        .repartition("user_id")
        .withColumn("day", instant(F.col("written_day")))
    )
    client = Window.partitionBy("user_id")
    so_far = client.orderBy("position").rowsBetween(Window.unboundedPreceding, Window.currentRow)
    rows = (
        rows.withColumn("first_day", F.min("day").over(client))
        .withColumn("known_day", F.coalesce(F.max("day").over(so_far), "first_day"))
        .withColumn("step", _step(research.shuffle_ties))
    )
    seconds = F.when(F.col("known_day").isNull(), F.col("step") * 60).otherwise(F.col("step"))
    unreadable_day = F.col("written_day").isNotNull() & F.col("day").isNull()
    dated = F.coalesce("known_day", F.lit(_NO_DATE).cast("timestamp"))
    parsed = rows.select(
        F.lit("interactions").alias("source"),
        F.lit(0).alias("place"),
        "raw",
        (F.col("malformed") | F.col("position").isNull()).alias("malformed"),
        "user_id",
        "item_id",
        F.lit("purchase").alias("event_type"),
        F.when(~unreadable_day, F.timestamp_seconds(F.unix_timestamp(dated) + seconds)).alias("ts"),
    )
    return with_row_rules(parsed, settings, run_date, F.lit(False))


def _step(shuffle_ties: int | None) -> Column:
    """Place of an event among its client's events, from 1."""
    from pyspark.sql import Window
    from pyspark.sql import functions as F

    if shuffle_ties is None:
        return F.col("position")
    chance = F.when(F.col("known_day").isNotNull(), F.xxhash64(F.lit(shuffle_ties), "user_id", "item_id"))
    # Dense, so that a repeated row keeps the place of the row that it repeats.
    return F.dense_rank().over(
        Window.partitionBy("user_id").orderBy("known_day", chance, "position", "item_id")
    )
