"""A disk that is full in the midst of a run: one line that names it, nothing half-written, and no trace of it later."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from stopping import NoRoom

from isrf_pipeline.cli.main import main
from isrf_pipeline.lake import Lake, tables
from isrf_pipeline.run import execution
from isrf_pipeline.stages.context import Stage, StageContext

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from isrf_pipeline.config import Settings

pytestmark = [pytest.mark.spark, pytest.mark.faults]

NIGHT = datetime.date(2026, 6, 30)


def test_a_write_without_room_is_one_line_and_leaves_the_table_as_it_was(
    spark: SparkSession,
    lake: Lake,
    lake_settings: Settings,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    conf = tmp_path / "test.yaml"
    conf.write_text(f"lake:\n  root: {lake.root}\n", encoding="utf-8")
    room = NoRoom(spark)
    full = {"now": False}

    def ingest(ctx: StageContext) -> None:
        if full["now"]:
            room.begin()
        names = [f"client {number} {full['now']}" for number in range(100)]
        rows = [(name, {}, True) for name in names]
        ctx.write(tables.CLIENTS, ctx.spark.createDataFrame(rows, tables.CLIENTS.ddl()))

    monkeypatch.setattr(execution, "load_stage", lambda name: Stage(name, (), (tables.CLIENTS,), ingest))
    command = ["run", "ingest", "--conf-file", str(conf), "--run-date", str(NIGHT)]
    assert main(command) == 0
    before = Lake(spark, lake_settings.lake).version(tables.CLIENTS)
    capsys.readouterr()
    full["now"] = True
    try:
        assert main(command) == 2
    finally:
        room.end()
        full["now"] = False
    (told,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("isrf: ")]
    assert told.startswith(f"isrf: error: {lake.root}: cannot take what is written (File too large; ")
    found = Lake(spark, lake_settings.lake)
    assert found.version(tables.CLIENTS) == before
    assert found.read(tables.CLIENTS).where("user_id LIKE '%True'").isEmpty()
    assert main(command) == 0
    statuses = [row["status"] for row in found.read(tables.RUNS).orderBy("sequence").collect()]
    # A failure that cannot be recorded is not.
    assert [status for status in statuses if status == "done"] == ["done", "done"]
