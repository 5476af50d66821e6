"""Maintenance: old nights go, small files become one, what the last versions need stays, and nothing else changes."""

from __future__ import annotations

import datetime
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from isrf_pipeline.config import Settings
from isrf_pipeline.lake import Lake, tables
from isrf_pipeline.stages.context import StageContext
from isrf_pipeline.stages.maintain import STAGE

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

pytestmark = pytest.mark.spark

NIGHT = datetime.date(2026, 6, 30)
NIGHTS = [NIGHT - datetime.timedelta(days=age) for age in range(9, -1, -1)]


def _context(spark: SparkSession, settings: Settings) -> StageContext:
    return StageContext(spark, settings, Lake(spark, settings.lake), NIGHT, "run")


def _parquet_files(lake: Lake, name: str) -> list[Path]:
    return sorted(Path(lake.root, *name.split(".")).glob("*.parquet"))


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    return Settings.model_validate(
        {
            "lake": {"root": str(tmp_path_factory.mktemp("maintain") / "lake")},
            "maintenance": {"gold_nights": 7, "after_commits": 8, "export_nights": 1, "vacuum_hours": 24},
        }
    )


@pytest.fixture(scope="module")
def lake(spark: SparkSession, settings: Settings) -> Lake:
    lake = Lake(spark, settings.lake)
    row = ("s1", "name", "what", 3, ["tag"])
    for night in NIGHTS:
        lake.overwrite(
            tables.SEGMENTS,
            spark.createDataFrame([(night, *row)], tables.SEGMENTS.ddl()),
            f"run_date = '{night}'",
        )
    lake.overwrite(tables.CLIENTS, spark.createDataFrame([("ann", {}, True)], tables.CLIENTS.ddl()))
    lake.overwrite(tables.CLIENTS, spark.createDataFrame([("bob", {}, True)], tables.CLIENTS.ddl()))
    lake.overwrite(
        tables.METRICS,
        spark.createDataFrame(
            [(NIGHT, "a", "all", 1.0), (datetime.date(2025, 1, 1), "a", "all", 1.0)], tables.METRICS.ddl()
        ),
    )
    for night in NIGHTS[-2:]:
        Path(lake.root, "exports", night.isoformat()).mkdir(parents=True)
    return lake


@pytest.fixture(scope="module")
def maintained(spark: SparkSession, settings: Settings, lake: Lake) -> StageContext:
    context = _context(spark, settings)
    STAGE.run(context)
    return context


def _values(lake: Lake) -> dict[tuple[str, str], float]:
    rows = lake.read(tables.METRICS).where("startswith(metric, 'maintain.')").collect()
    return {(row["metric"].removeprefix("maintain."), row["slice"]): row["value"] for row in rows}


def test_nights_beyond_the_newest_go(lake: Lake, maintained: StageContext) -> None:
    kept = {row["run_date"] for row in lake.read(tables.SEGMENTS).collect()}
    assert kept == set(NIGHTS[-7:])
    metrics = {row["run_date"] for row in lake.read(tables.METRICS).collect()}
    assert metrics == {NIGHT}
    values = _values(lake)
    assert values["rows_deleted", "gold.segments"] == 3
    assert values["rows_deleted", "ops.metrics"] == 1
    assert values["exports_removed", "all"] == 1


def test_only_tables_that_changed_often_are_compacted(lake: Lake, maintained: StageContext) -> None:
    values = _values(lake)
    compacted = {table for name, table in values if name == "files_compacted"}
    assert compacted == {"gold.segments"}
    assert values["files_compacted", "gold.segments"] == 7
    # Compacted files stay for whoever reads an earlier version.
    assert len(_parquet_files(lake, "gold.segments")) > 1
    assert values["files_removed", "gold.segments"] == 0


def test_commits_of_maintenance_can_be_told_from_others(lake: Lake, maintained: StageContext) -> None:
    fresh = Lake(lake.spark, lake.settings)
    # Creation and ten nights: the versions since change no row that a stage reads.
    assert fresh.version_without(tables.SEGMENTS, "maintenance") == 10
    assert fresh.version(tables.SEGMENTS) > 10


def test_a_second_run_changes_nothing(
    spark: SparkSession, settings: Settings, lake: Lake, maintained: StageContext
) -> None:
    before = {name: Lake(spark, settings.lake).version(table) for name, table in tables.ALL_TABLES.items()}
    STAGE.run(_context(spark, settings))
    after = {name: Lake(spark, settings.lake).version(table) for name, table in tables.ALL_TABLES.items()}
    assert {name for name in before if before[name] != after[name]} == {"ops.metrics"}


def test_files_that_no_version_knows_are_removed_when_they_are_old(
    spark: SparkSession, settings: Settings, lake: Lake, maintained: StageContext
) -> None:
    folder = Path(lake.root, "gold", "segments")
    # What a killed run left, and what another may be writing at this moment.
    dead, living = folder / "part-00000-dead.snappy.parquet", folder / "part-00000-living.snappy.parquet"
    for path in (dead, living):
        path.write_bytes(b"PAR1")
    days_ago = time.time() - 3 * 86400
    os.utime(dead, (days_ago, days_ago))
    often = settings.model_copy(
        update={"maintenance": settings.maintenance.model_copy(update={"after_commits": 1})}
    )
    fresh = Lake(spark, settings.lake)
    fresh.append(tables.SEGMENTS, fresh.read(tables.SEGMENTS).limit(1))
    STAGE.run(_context(spark, often))
    assert (dead.exists(), living.exists()) == (False, True)
    assert _values(lake)["files_removed", "gold.segments"] == 1
    assert spark.conf.get("spark.databricks.delta.retentionDurationCheck.enabled") == "true"


def test_it_can_be_switched_off(spark: SparkSession, settings: Settings, maintained: StageContext) -> None:
    off = settings.model_copy(
        update={"maintenance": settings.maintenance.model_copy(update={"enabled": False})}
    )
    before = Lake(spark, settings.lake).version(tables.METRICS)
    STAGE.run(_context(spark, off))
    assert Lake(spark, settings.lake).version(tables.METRICS) == before
