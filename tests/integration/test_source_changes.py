"""What tonight's sources brought, against the versions that the night before left."""

from __future__ import annotations

import datetime
from typing import TYPE_CHECKING, Any

from isrf_pipeline.erasure.history import cleaning_session, forget_history
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


def test_after_an_erasure_the_night_is_compared_with_what_it_left(
    spark: SparkSession, lake: Lake, lake_settings: Settings
) -> None:
    compared = (tables.ITEMS, tables.CLIENTS, tables.INTERACTIONS)

    def write(users: list[str]) -> dict[str, int]:
        rows: dict[str, list[tuple[Any, ...]]] = {
            tables.ITEMS.name: [("i1", "i1", "A", [], None, 1.0, {}, True, None, "a")],
            tables.CLIENTS.name: [(user, {}, True) for user in users],
            tables.INTERACTIONS.name: [(user, "i1", "view", NOW, 0.3, "r") for user in users],
        }
        for table in compared:
            lake.overwrite(table, spark.createDataFrame(rows[table.name], table.ddl()))
        return {table.name: lake.version(table) for table in compared}

    def record(night: datetime.date, left: dict[str, int]) -> None:
        counters = StageCounters(output_versions=left)
        identity = RunIdentity(f"r{night}", night, "hash", "1")
        append_record(lake, identity, StageRecord("ingest", NOW, NOW, 1.0, counters))

    record(BEFORE, write(["u1", "u2", "erased"]))
    write(["u1", "u2"])
    cleaned = Lake(cleaning_session(spark), lake.settings)
    for table in compared:
        forget_history(cleaned, table, "erasure")

    lake = Lake(spark, lake.settings)
    left = write(["u1", "u2", "new"])
    ctx = StageContext(spark, lake_settings, lake, NIGHT, "r2")
    for _ in range(2):
        found = {name: count for (name, _), count in changes_since_last_night(ctx).items() if count}
        assert found == {"new_clients": 1, "more_events": 1}
        # And once more when the night is repeated.
        record(NIGHT, left)
        write(["u1", "u2", "new"])
    # Erased again since: all that is left was written by this night itself.
    for table in compared:
        forget_history(cleaned, table, "erasure")
    assert changes_since_last_night(ctx) == {}
