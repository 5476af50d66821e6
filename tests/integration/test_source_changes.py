"""What tonight's sources brought, against the versions that the night before left."""

from __future__ import annotations

import datetime
from typing import TYPE_CHECKING, Any

from isrf_pipeline.ingest.changes import changes_since_last_night
from isrf_pipeline.lake import Lake, Table, tables
from isrf_pipeline.run.records import RunIdentity, StageRecord, append_record
from isrf_pipeline.stages.context import StageContext, StageCounters

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from isrf_pipeline.config import Settings

BEFORE, NIGHT = datetime.date(2026, 6, 29), datetime.date(2026, 6, 30)
NOW = datetime.datetime(2026, 6, 30, 3, tzinfo=datetime.UTC)


def test_changes_are_counted_against_the_night_before_whatever_was_repeated(
    spark: SparkSession, lake: Lake, lake_settings: Settings
) -> None:
    def fill(table: Table, rows: list[tuple[Any, ...]]) -> None:
        lake.overwrite(table, spark.createDataFrame(rows, table.ddl()))

    def item(name: str, price: float | None, available: bool = True, text: str = "a") -> tuple[Any, ...]:
        return (name, name, "A", [], None, price, {}, available, None, text * 64)

    def event(user: str) -> tuple[Any, ...]:
        return (user, "i1", "view", NOW, 0.3, "r")

    ctx = StageContext(spark, lake_settings, lake, NIGHT, "r2")
    fill(tables.ITEMS, [item("i1", 10.0), item("i2", 20.0), item("i3", None, False), item("gone", 1.0)])
    fill(tables.CLIENTS, [("u1", {}, True), ("u2", {}, False), ("gone", {}, True)])
    fill(tables.INTERACTIONS, [event("u1")])
    assert changes_since_last_night(ctx) == {}

    left = {table.name: lake.version(table) for table in (tables.ITEMS, tables.CLIENTS, tables.INTERACTIONS)}
    append_record(
        lake,
        RunIdentity("r1", BEFORE, "hash", "1"),
        StageRecord("ingest", NOW, NOW, 1.0, StageCounters(output_versions=left)),
    )
    for _ in range(2):
        fill(
            tables.ITEMS,
            [item("i1", 11.0, False), item("i2", 20.0, text="b"), item("i3", 5.0), item("new", 1.0)],
        )
        fill(tables.CLIENTS, [("u1", {}, False), ("u2", {}, True), ("v1", {}, True), ("v2", {}, True)])
        fill(tables.INTERACTIONS, [event("u1"), event("v1"), event("v2")])
        found = {name: count for (name, _), count in changes_since_last_night(ctx).items()}
        assert found == {
            "new_articles": 1,
            "articles_gone": 1,
            "articles_described_anew": 1,
            "prices_changed": 2,
            "articles_sold_out": 1,
            "articles_back": 1,
            "new_clients": 2,
            "clients_gone": 1,
            "consents_withdrawn": 1,
            "consents_given": 1,
            "more_events": 2,
        }
