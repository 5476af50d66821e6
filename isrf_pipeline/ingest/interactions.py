"""Interactions: from source rows to events, each with the rule it breaks, if any."""

from __future__ import annotations

import datetime
from typing import TYPE_CHECKING

from isrf_pipeline.config.settings import IngestSettings, InteractionSource
from isrf_pipeline.ingest.parsing import Given
from isrf_pipeline.ingest.rules import (
    after_night,
    first_broken,
    impossible,
    overlong,
    with_line_end,
    wrongly_decoded,
)

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

#: Columns of events on their way to silver: ``place`` orders sources, ``rule`` is null for a good row.
EVENT_COLUMNS = ("source", "place", "raw", "rule", "user_id", "item_id", "event_type", "ts", "weight")


def mapped_columns(source: InteractionSource) -> list[str]:
    """Columns of the source that the mapping names."""
    names = [source.columns.user_id, source.columns.item_id, source.columns.ts]
    return names if source.amount_column is None else [*names, source.amount_column]


def parse_events(
    rows: DataFrame, source: InteractionSource, place: int, settings: IngestSettings, run_date: datetime.date
) -> DataFrame:
    """Turn the rows of one source into events, labelled with the rule that a row breaks by itself.

    Parameters
    ----------
    rows
        As :func:`isrf_pipeline.ingest.sources.read_rows` returns them.
    source
        Mapping and event type.
    place
        Position among the sources; of events that two sources give, the earlier source's is kept.
    settings
        Rules and weights.
    run_date
        The night; later events are future ones.

    Returns
    -------
    DataFrame
        ``EVENT_COLUMNS``.
    """
    from pyspark.sql import functions as F

    given = Given(rows)
    parsed = rows.select(
        F.lit(source.name).alias("source"),
        F.lit(place).alias("place"),
        "raw",
        "malformed",
        given.text(source.columns.user_id).alias("user_id"),
        given.text(source.columns.item_id).alias("item_id"),
        F.lit(source.event_type).alias("event_type"),
        given.instant(source.columns.ts).alias("ts"),
        given.number(source.amount_column).alias("amount"),
    )
    return with_row_rules(parsed, settings, run_date, F.col("amount") < 0)


def with_row_rules(
    parsed: DataFrame, settings: IngestSettings, run_date: datetime.date, negative: Column
) -> DataFrame:
    """Label events with the rule that a row breaks by itself and give them the weight of their type.

    With ``ingest.as_of_night`` events after the night are left out: they are no fault of the source.
    """
    from pyspark.sql import functions as F

    if settings.as_of_night:
        parsed = parsed.where(~F.coalesce(after_night(F.col("ts"), run_date), F.lit(False)))
    ids = (F.col("user_id"), F.col("item_id"))
    rule = first_broken(
        {
            "malformed_row": F.col("malformed"),
            "overlong_row": overlong(settings.max_row_chars, F.col("raw")),
            "missing_id": F.col("user_id").isNull() | F.col("item_id").isNull(),
            "overlong_id": overlong(settings.max_id_chars, *ids),
            "line_end_in_id": with_line_end(*ids),
            "wrong_encoding": wrongly_decoded(*ids),
            "impossible_timestamp": impossible(F.col("ts"), settings.earliest_event),
            "future_timestamp": after_night(F.col("ts"), run_date),
            "negative_price": negative,
        }
    )
    weights = F.create_map(*[F.lit(part) for pair in settings.event_weights.items() for part in pair])
    weight = F.try_element_at(weights, F.col("event_type")).cast("float")
    return parsed.withColumn("rule", rule).withColumn("weight", weight).select(*EVENT_COLUMNS)


def with_known_items(events: DataFrame, items: DataFrame) -> DataFrame:
    """Give the rule ``unknown_item`` to good events of items that the catalogue does not have.

    Parameters
    ----------
    events
        ``EVENT_COLUMNS``.
    items
        item_id of the accepted items, each once.
    """
    from pyspark.sql import functions as F

    known = items.select("item_id", F.lit(True).alias("known"))
    rule = F.coalesce("rule", F.when(F.col("known").isNull(), F.lit("unknown_item")))
    return events.join(known, "item_id", "left").withColumn("rule", rule).select(*EVENT_COLUMNS)


def with_duplicates(events: DataFrame) -> DataFrame:
    """Give the rule ``duplicate`` to all but one of the good events that agree in client, item, type and instant.

    The one that is kept is of the earliest source, then the first by content, whatever the order of rows.
    """
    from pyspark.sql import Window
    from pyspark.sql import functions as F

    same = Window.partitionBy("user_id", "item_id", "event_type", "ts", "rule").orderBy("place", "raw")
    again = F.col("rule").isNull() & (F.row_number().over(same) > 1)
    return events.withColumn("rule", F.when(again, F.lit("duplicate")).otherwise(F.col("rule")))
