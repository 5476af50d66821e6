"""The star schema's rows: what the night's tables say, with keys of dimensions in place of identifiers."""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from typing import TYPE_CHECKING

from isrf_pipeline.lake import Table, bi_tables

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

#: Identifier of the row of dim_segment for clients in no segment.
_NO_SEGMENT = ""


@dataclass(frozen=True)
class NightTables:
    """What the star schema is made of.

    Attributes
    ----------
    run_date
        The night.
    current
        The night that consumers are to see; None where none is published.
    recommendations, segments, members, heroes, related, audiences
        This night's rows of the gold tables; audiences may have reason and holdout.
    items, clients
        silver.items and silver.clients.
    """

    run_date: datetime.date
    current: datetime.date | None
    recommendations: DataFrame
    segments: DataFrame
    members: DataFrame
    heroes: DataFrame
    related: DataFrame
    audiences: DataFrame
    items: DataFrame
    clients: DataFrame


def star_frames(night: NightTables) -> list[tuple[Table, DataFrame]]:
    """The tables of :data:`isrf_pipeline.lake.bi_tables.STAR_TABLES` with their rows, in that order.

    Each has the table's columns and types, with the table's comments in its schema. Every key of a fact is in its
    dimension, also that of a client or an article that the silver tables do not know.
    """
    frames = {
        bi_tables.DIM_CLIENT.name: _clients(night),
        bi_tables.DIM_ITEM.name: _items(night),
        bi_tables.DIM_SEGMENT.name: _segments(night),
        **_facts(night),
        bi_tables.DIM_NIGHT.name: _night(night),
    }
    return [(table, _shaped(frames[table.name], table)) for table in bi_tables.STAR_TABLES]


def segment_key(run_date: datetime.date) -> Column:
    """Key of the segment that the column segment_id names as of that night; null is the segment of those in none."""
    from pyspark.sql import functions as F

    return F.xxhash64(F.lit(run_date), F.coalesce("segment_id", F.lit(_NO_SEGMENT)))


def _shaped(rows: DataFrame, table: Table) -> DataFrame:
    from pyspark.sql import functions as F

    return rows.select(
        *[F.col(c.name).cast(c.type).alias(c.name, metadata={"comment": c.comment}) for c in table.columns]
    )


def _clients(night: NightTables) -> DataFrame:
    from pyspark.sql import functions as F

    named = night.recommendations.select("user_id")
    for others in (night.members, night.audiences):
        named = named.union(others.select("user_id"))
    memberships = night.members.select("user_id", "segment_id").join(
        night.segments.select("segment_id", F.col("name").alias("segment_name")), "segment_id", "left"
    )
    return (
        night.clients.join(named.distinct(), "user_id", "full")
        .join(memberships, "user_id", "left")
        .withColumns(
            {
                "client_key": F.xxhash64("user_id"),
                "segment_key": segment_key(night.run_date),
                "attributes": _sorted_json("attributes"),
                "as_of": F.lit(night.run_date),
            }
        )
    )


def _items(night: NightTables) -> DataFrame:
    from pyspark.sql import functions as F

    named = night.recommendations.select("item_id")
    for others in (night.heroes, night.related):
        named = named.union(others.select("item_id"))
    named = named.union(night.related.select("related_item_id"))
    return night.items.join(named.distinct(), "item_id", "full").withColumns(
        {
            "item_key": F.xxhash64("item_id"),
            "category": F.get("categories", F.lit(0)),
            "category_path": F.array_join("categories", " > "),
            "attributes": _sorted_json("attributes"),
            "as_of": F.lit(night.run_date),
        }
    )


def _segments(night: NightTables) -> DataFrame:
    from pyspark.sql import functions as F

    # A membership or a list may name a segment whose description was not written.
    named = night.members.select("segment_id").union(night.recommendations.select("segment_id"))
    none = named.sparkSession.range(1).select(F.lit(_NO_SEGMENT).alias("segment_id"))
    named = named.where("segment_id IS NOT NULL").union(none).distinct()
    return (
        night.segments.drop("run_date")
        .join(named, "segment_id", "full")
        .withColumns(
            {
                "segment_key": segment_key(night.run_date),
                "run_date": F.lit(night.run_date),
                "name": F.when(F.col("segment_id") == _NO_SEGMENT, "No segment").otherwise(F.col("name")),
                "top_features": F.array_join("top_features", ", "),
            }
        )
    )


def _facts(night: NightTables) -> dict[str, DataFrame]:
    from pyspark.sql import functions as F

    audiences = night.audiences
    for name, type_ in (("reason", "string"), ("holdout", "boolean")):
        if name not in audiences.columns:
            audiences = audiences.withColumn(name, F.lit(None).cast(type_))
    keys = {"client_key": F.xxhash64("user_id"), "segment_key": segment_key(night.run_date)}
    return {
        bi_tables.FACT_RECOMMENDATION.name: night.recommendations.withColumns(
            {**keys, "item_key": F.xxhash64("item_id"), "because_items": F.to_json("because_items")}
        ),
        bi_tables.FACT_SEGMENT_MEMBERSHIP.name: night.members.withColumns(keys),
        bi_tables.FACT_HERO_ITEM.name: night.heroes.withColumn("item_key", F.xxhash64("item_id")),
        bi_tables.FACT_RELATED_ITEM.name: night.related.withColumns(
            {"item_key": F.xxhash64("item_id"), "related_item_key": F.xxhash64("related_item_id")}
        ),
        bi_tables.FACT_AUDIENCE.name: audiences.withColumn("client_key", F.xxhash64("user_id")),
    }


def _night(night: NightTables) -> DataFrame:
    from pyspark.sql import functions as F

    day, iso = night.run_date, night.run_date.isocalendar()
    values = {
        "run_date": day,
        "year": day.year,
        "quarter": (day.month + 2) // 3,
        "month": day.month,
        # Not by strftime, which speaks the language of the machine.
        "month_name": _MONTHS[day.month - 1],
        "iso_year": iso.year,
        "iso_week": iso.week,
        "day_of_month": day.day,
        "day_of_week": iso.weekday,
        "day_name": _DAYS[iso.weekday - 1],
        "is_weekend": iso.weekday > 5,
        "is_current": night.current == day,
    }
    one = night.recommendations.sparkSession.range(1)
    return one.select(*[F.lit(value).alias(name) for name, value in values.items()])


def _sorted_json(name: str) -> Column:
    from pyspark.sql import functions as F

    return F.to_json(F.map_from_entries(F.array_sort(F.map_entries(name))))


_MONTHS = (
    "January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November",
    "December",
)  # fmt: skip
_DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
