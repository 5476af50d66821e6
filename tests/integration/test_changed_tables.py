"""Tables whose columns somebody has changed between two nights, and tables of an older version of the package."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from isrf_pipeline.cli.main import main
from isrf_pipeline.errors import InputRefusedError
from isrf_pipeline.lake import Lake, Table, tables
from isrf_pipeline.run import execution
from isrf_pipeline.run.freshness import is_fresh, last_records
from isrf_pipeline.run.records import RunIdentity, StageRecord, append_record, last_runs
from isrf_pipeline.stages.context import Stage, StageContext, StageCounters

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

    from isrf_pipeline.config import Settings

pytestmark = [pytest.mark.spark, pytest.mark.faults]

NIGHT = datetime.date(2026, 6, 30)
NOON = datetime.datetime(2026, 7, 1, 12, tzinfo=datetime.UTC)


def vertices(spark: SparkSession, *names: str) -> DataFrame:
    return spark.createDataFrame([(name, "user", name.upper()) for name in names], tables.VERTICES.ddl())


def changed(lake: Lake, table: Table, rows: DataFrame) -> None:
    """As somebody changes a table who does not go through the pipeline."""
    writer = rows.write.format("delta").mode("overwrite").option("overwriteSchema", "true")
    writer.save(lake.path(table))


def labels(lake: Lake) -> list[Any]:
    return sorted(tuple(row) for row in lake.read(tables.VERTICES).select("id", "label").collect())


@pytest.fixture
def filled(spark: SparkSession, lake: Lake, lake_settings: Settings) -> Lake:
    """A lake whose table is read anew, as the next run reads them."""
    lake.overwrite(tables.VERTICES, vertices(spark, "ann", "bob"))
    return Lake(spark, lake_settings.lake)


def test_a_column_that_somebody_added_stays_and_disturbs_nothing(spark: SparkSession, filled: Lake) -> None:
    spark.sql(f"ALTER TABLE {filled.address(tables.VERTICES)} ADD COLUMNS (note string)")
    spark.sql(f"UPDATE {filled.address(tables.VERTICES)} SET note = 'vip' WHERE id = 'ann'")
    assert filled.read(tables.VERTICES).columns == tables.VERTICES.column_names()
    filled.append(tables.VERTICES, vertices(spark, "cid"))
    kept = spark.table(filled.address(tables.VERTICES)).select("id", "note").collect()
    assert {tuple(row) for row in kept} == {("ann", "vip"), ("bob", None), ("cid", None)}


def test_a_column_that_may_be_null_and_lacks_is_null_until_the_next_write_brings_it_back(
    spark: SparkSession, filled: Lake
) -> None:
    """As in a lake of an older version, where stages read a table before one writes it."""
    changed(filled, tables.VERTICES, filled.read(tables.VERTICES).drop("label"))
    assert labels(filled) == [("ann", None), ("bob", None)]
    assert filled.read(tables.VERTICES).schema["label"].dataType.simpleString() == "string"
    filled.append(tables.VERTICES, vertices(spark, "cid"))
    assert labels(filled) == [("ann", None), ("bob", None), ("cid", "CID")]


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        (lambda rows: rows.withColumn("label", rows["label"].cast("binary")),
         "was changed: label is binary and not string"),
        (lambda rows: rows.drop("kind"), "lacks kind, which may not be null"),
    ],
    ids=["retyped", "dropped"],
)  # fmt: skip
def test_a_column_that_cannot_be_told_is_refused_and_restoring_mends_it(
    spark: SparkSession, filled: Lake, lake_settings: Settings, change: Any, rule: str
) -> None:
    whole = filled.version(tables.VERTICES)
    changed(filled, tables.VERTICES, change(filled.read(tables.VERTICES)))
    found = Lake(spark, lake_settings.lake)
    at = found.version(tables.VERTICES)
    for attempt in (
        lambda: found.read(tables.VERTICES),
        lambda: found.append(tables.VERTICES, vertices(spark, "cid")),
        lambda: found.overwrite(tables.VERTICES, vertices(spark, "cid")),
    ):
        with pytest.raises(InputRefusedError, match=rf"graph\.vertices: {rule}; restore the version before"):
            attempt()
    assert Lake(spark, lake_settings.lake).version(tables.VERTICES) == at
    # As docs/runbook.md tells to.
    spark.sql(f"RESTORE TABLE {filled.address(tables.VERTICES)} TO VERSION AS OF {whole}")
    mended = Lake(spark, lake_settings.lake)
    mended.append(tables.VERTICES, vertices(spark, "cid"))
    assert labels(mended) == [("ann", "ANN"), ("bob", "BOB"), ("cid", "CID")]


def test_every_declared_type_is_told_as_spark_tells_it(spark: SparkSession) -> None:
    from isrf_pipeline.lake.shape import lacking_columns

    for table in tables.ALL_TABLES.values():
        assert lacking_columns(table, spark.createDataFrame([], table.ddl()).schema) == []


def test_a_night_on_a_changed_table_is_one_line_and_exit_code_3(
    spark: SparkSession,
    filled: Lake,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    changed(filled, tables.VERTICES, filled.read(tables.VERTICES).withColumnRenamed("kind", "sort"))
    conf = tmp_path / "test.yaml"
    conf.write_text(f"lake:\n  root: {filled.root}\n", encoding="utf-8")
    stage = Stage("recommend", (tables.VERTICES,), (), lambda ctx: ctx.read(tables.VERTICES).foreach(print))
    monkeypatch.setattr(execution, "load_stage", lambda name: stage)
    assert main(["run", "recommend", "--conf-file", str(conf), "--run-date", str(NIGHT)]) == 3
    complaints = [line for line in capsys.readouterr().err.splitlines() if line.startswith("isrf: ")]
    (told,) = complaints
    assert told.startswith("isrf: error: graph.vertices: lacks kind, which may not be null; restore")


def record(lake: Lake, run_id: str, config: str, hours: int, stage: str = "export") -> None:
    """What a run leaves that found the clock ``hours`` after noon."""
    started = NOON + datetime.timedelta(hours=hours)
    counters = StageCounters(output_versions={})
    append_record(
        lake, RunIdentity(run_id, NIGHT, config, "v"), StageRecord(stage, started, started, 1.0, counters)
    )


def test_the_last_run_is_the_one_recorded_last_when_the_clock_was_set_back(
    spark: SparkSession, lake: Lake, lake_settings: Settings
) -> None:
    """A stage whose files tell of no version, with other settings in between: only the last record counts."""
    stage = Stage("export", (), (), lambda ctx: None)
    ctx = StageContext(spark, lake_settings, lake, NIGHT, "asks")

    def fresh(config: str) -> bool:
        last = last_records(lake, NIGHT)
        return is_fresh(stage, ctx, RunIdentity("asks", NIGHT, config, "v"), last.get(stage.name))

    record(lake, "r1", "first", 0)
    assert (fresh("first"), fresh("other")) == (True, False)
    record(lake, "r2", "other", -2, "ingest")
    record(lake, "r2", "other", -3)
    assert (fresh("first"), fresh("other")) == (False, True)
    # A clock that goes a day ahead and comes back.
    record(Lake(spark, lake_settings.lake), "r3", "first", 24)
    record(Lake(spark, lake_settings.lake), "r4", "other", 1)
    assert (fresh("first"), fresh("other")) == (False, True)
    runs = last_runs(lake, 3)
    assert [[(row["run_id"], row["stage"]) for row in rows] for rows in runs] == [
        [("r4", "export")],
        [("r3", "export")],
        [("r2", "ingest"), ("r2", "export")],
    ]


def test_records_of_an_older_version_come_before_those_that_are_numbered(
    spark: SparkSession, lake: Lake, lake_settings: Settings
) -> None:
    record(lake, "old-1", "c", 1)
    record(lake, "old-2", "c", 2)
    changed(lake, tables.RUNS, lake.read(tables.RUNS).drop("sequence"))
    found = Lake(spark, lake_settings.lake)
    assert [rows[0]["run_id"] for rows in last_runs(found, 9)] == ["old-2", "old-1"]
    record(found, "new", "c", -5)
    assert [rows[0]["run_id"] for rows in last_runs(found, 9)] == ["new", "old-2", "old-1"]


def test_a_stage_ends_after_it_began_whatever_the_clock(
    spark: SparkSession, tmp_path: Path, lake_root: Path, lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    from isrf_pipeline.config import load_settings
    from isrf_pipeline.stages import nightly

    conf = tmp_path / "test.yaml"
    conf.write_text(f"lake:\n  root: {lake_root}\n", encoding="utf-8")
    # Each look finds the clock an hour further back.
    looks = iter(NOON - datetime.timedelta(hours=hour) for hour in range(100))
    monkeypatch.setattr(nightly, "_now", lambda: next(looks))
    stages = [Stage(name, (), (), lambda ctx: None) for name in ("ingest", "reason_items")]
    nightly.run_stages(spark, load_settings(conf), NIGHT, "r", stages)
    (rows,) = last_runs(lake, 1)
    assert [row["stage"] for row in rows] == ["ingest", "reason_items"]
    for row in rows:
        assert row["finished_at"] >= row["started_at"]
        assert row["seconds"] == pytest.approx(
            (row["finished_at"] - row["started_at"]).total_seconds(), abs=1e-5
        )
