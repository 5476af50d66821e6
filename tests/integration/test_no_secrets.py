"""A run that fails with a secret in its error, on the driver, in a worker and in native output, leaves it nowhere."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from isrf_pipeline.cli.main import main
from isrf_pipeline.config import redaction
from isrf_pipeline.lake import Lake, tables
from isrf_pipeline.run import execution
from isrf_pipeline.stages.context import Stage, StageContext

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

pytestmark = pytest.mark.spark

PASSWORD = "correct horse/battery"
PROPERTY = "spark.isrf.test.password"


@pytest.fixture(autouse=True)
def _nothing_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redaction, "_shown_for", {})


def on_the_driver(context: StageContext) -> None:
    password = context.settings.spark.conf[PROPERTY]
    os.write(1, f"a native library says {password}\n".encode())
    raise OSError(f"jdbc:h2://h;user=me;password={password}: no route to {context.settings.spark.conf}")


def in_a_worker(context: StageContext) -> None:
    password = context.settings.spark.conf[PROPERTY]

    def connect(batches: Iterator[object]) -> Iterator[object]:
        from isrf_pipeline.errors import ReasoningError

        raise ReasoningError("server http://h", f"refused the key {password}", "give another")
        yield from batches

    context.spark.range(1).mapInArrow(connect, "id long").collect()  # type: ignore[arg-type]


@pytest.fixture
def conf_file(tmp_path: Path, lake_root: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ISRF_SECRET_DATABASE", PASSWORD)
    file = tmp_path / "test.yaml"
    text = f"lake: {{root: {lake_root}}}\nspark: {{conf: {{{PROPERTY}: '${{secret:DATABASE}}'}}}}\n"
    file.write_text(text, encoding="utf-8")
    return file


def test_a_failing_run_leaves_no_secret(
    spark: SparkSession,
    lake: Lake,
    lake_root: Path,
    conf_file: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    stages = {"ingest": on_the_driver, "recommend": in_a_worker}
    monkeypatch.setattr(execution, "load_stage", lambda name: Stage(name, (), (), stages[name]))
    for name in stages:
        assert main(["run", name, "--conf-file", str(conf_file), "--run-date", "2026-06-30"]) == 1
    assert main(["status", "--conf-file", str(conf_file)]) == 0
    printed = capfd.readouterr()
    logs = [file.read_text(encoding="utf-8") for file in sorted((lake_root / "logs").iterdir())]
    errors = {row["stage"]: row["error"] for row in lake.read(tables.RUNS).collect()}
    assert len(logs) == len(errors) == 2
    assert "a native library says ${secret:DATABASE}" in logs[0]
    assert "refused the key ${secret:DATABASE}" in errors["recommend"]
    # The parameter of an address is hidden as such.
    assert "password=" in errors["ingest"]
    for text in (printed.out, printed.err, *logs, *errors.values()):
        assert PASSWORD not in text and "battery" not in text
        assert "secret:DATABASE" in text or "***" in text
