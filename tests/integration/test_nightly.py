"""The runner: every stage is recorded, a failed one stops the run, and the command line tells why in one line."""

from __future__ import annotations

import datetime
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from isrf_pipeline import __version__
from isrf_pipeline.cli.main import main
from isrf_pipeline.config import EffectiveSettings, load_settings
from isrf_pipeline.errors import InputRefusedError, QualityGateError
from isrf_pipeline.lake import Lake, tables
from isrf_pipeline.run import execution
from isrf_pipeline.run.lock import LOCK_NAME, hold_lake
from isrf_pipeline.stages.context import Stage, StageContext
from isrf_pipeline.stages.nightly import run_stages

if TYPE_CHECKING:
    from pyspark.sql import Row, SparkSession

NIGHT = datetime.date(2026, 6, 30)


def measure(context: StageContext) -> None:
    context.write_metrics("first", {("rows", "all"): 1.0, ("rows", "new"): 2.0})
    context.counters.rows_in = 7


def reread(context: StageContext) -> None:
    rows = context.read(tables.METRICS)
    context.counters.rows_out += rows.count()
    context.counters.llm_calls, context.counters.llm_tokens = 3, 400


def refuse(context: StageContext) -> None:
    raise InputRefusedError("orders.csv", "12 of 40 rows broke a rule", "mend the file")


def refuse_in_a_worker(context: StageContext) -> None:
    def gate(batches):  # type: ignore[no-untyped-def]
        from isrf_pipeline.errors import QualityGateError

        raise QualityGateError("answers", "40% are dead letters", "look at reasoning.answers")
        yield from batches

    context.spark.range(1).mapInArrow(gate, "id long").collect()


def break_down(context: StageContext) -> None:
    raise RuntimeError("something odd\nwith a second line")


def stage(name: str, run: Callable[[StageContext], None]) -> Stage:
    return Stage(name, (), (), run)


FAKES = {
    "ingest": stage("ingest", measure),
    "optimize": stage("optimize", reread),
    "recommend": stage("recommend", refuse),
    "evaluate": stage("evaluate", refuse_in_a_worker),
    "export": stage("export", break_down),
}


@pytest.fixture
def conf_file(tmp_path: Path, lake_root: Path) -> Path:
    file = tmp_path / "test.yaml"
    file.write_text(f"lake:\n  root: {lake_root}\n", encoding="utf-8")
    return file


@pytest.fixture
def effective(conf_file: Path) -> EffectiveSettings:
    return load_settings(conf_file)


def records(lake: Lake) -> dict[str, Row]:
    return {row["stage"]: row for row in lake.read(tables.RUNS).collect()}


def run(spark: SparkSession, effective: EffectiveSettings, *names: str) -> None:
    run_stages(spark, effective, NIGHT, "run-1", [FAKES[name] for name in names])


def test_each_stage_is_recorded_with_its_own_counts(
    spark: SparkSession, effective: EffectiveSettings, lake: Lake, capsys: pytest.CaptureFixture[str]
) -> None:
    run(spark, effective, "ingest", "optimize")
    found = records(lake)
    first, second = found["ingest"], found["optimize"]
    assert (first["status"], first["rows_in"], first["input_versions"]) == ("done", 7, {})
    assert (second["rows_out"], second["llm_calls"], second["llm_tokens"]) == (2, 3, 400)
    assert second["input_versions"] == {"ops.metrics": lake.version(tables.METRICS)}
    for row in found.values():
        assert (row["run_id"], row["run_date"], row["error"]) == ("run-1", NIGHT, None)
        assert (row["config_hash"], row["code_version"]) == (effective.config_hash, __version__)
        assert row["started_at"] <= row["finished_at"]
        assert row["seconds"] > 0
    shown = capsys.readouterr().out.splitlines()
    assert [line.split()[:2] for line in shown] == [["✓", "ingest"], ["✓", "optimize"]]
    assert shown[1].endswith("2 rows  3 LLM calls, 400 tokens")


@pytest.mark.parametrize(
    ("name", "kind", "error"),
    [
        ("recommend", InputRefusedError, "orders.csv: 12 of 40 rows broke a rule; mend the file."),
        ("evaluate", QualityGateError, "answers: 40% are dead letters; look at reasoning.answers."),
        ("export", RuntimeError, "RuntimeError: something odd"),
    ],
)
def test_a_failed_stage_is_recorded_and_ends_the_run(
    spark: SparkSession,
    effective: EffectiveSettings,
    lake: Lake,
    name: str,
    kind: type[Exception],
    error: str,
) -> None:
    with pytest.raises(kind):
        run(spark, effective, name, "ingest")
    found = records(lake)
    assert set(found) == {name}
    assert (found[name]["status"], found[name]["error"]) == ("failed", error)
    assert not lake.exists(tables.METRICS)


@pytest.fixture
def fake_stages(spark: SparkSession, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put the fakes behind the command line, which then joins the session of the tests."""
    monkeypatch.setattr(
        execution, "load_stage", lambda name: FAKES.get(name, stage(name, lambda context: None))
    )


@pytest.mark.usefixtures("fake_stages")
def test_a_night_can_start_from_and_stop_after_a_stage(conf_file: Path, lake: Lake) -> None:
    options = ["--conf-file", str(conf_file), "--run-date", str(NIGHT)]
    assert main(["nightly", *options, "--until", "build_interaction_graph"]) == 0
    assert set(records(lake)) == {"ingest", "reason_items", "build_interaction_graph"}
    assert main(["nightly", *options, "--from", "optimize", "--until", "optimize"]) == 0
    assert records(lake)["optimize"]["rows_out"] == 2


@pytest.mark.usefixtures("fake_stages")
@pytest.mark.parametrize(
    ("name", "code", "line"),
    [
        ("recommend", 3, "isrf: error: orders.csv: 12 of 40 rows broke a rule; mend the file."),
        ("evaluate", 4, "isrf: error: answers: 40% are dead letters; look at reasoning.answers."),
        ("export", 1, "isrf: error: RuntimeError: something odd: was not expected; the trace is in "),
    ],
)
def test_a_failure_is_one_line_and_a_code_and_the_trace_is_in_the_log(
    conf_file: Path, lake_root: Path, capsys: pytest.CaptureFixture[str], name: str, code: int, line: str
) -> None:
    assert main(["run", name, "--conf-file", str(conf_file), "--run-date", str(NIGHT)]) == code
    complaints = [text for text in capsys.readouterr().err.splitlines() if not text.startswith("{")]
    assert len(complaints) == 1
    assert complaints[0].startswith(line)
    (log,) = (lake_root / "logs").glob("*.log")
    assert "Traceback" in log.read_text(encoding="utf-8")
    if code == 1:
        assert str(log) in complaints[0]
    assert not (lake_root / LOCK_NAME).exists()


@pytest.mark.usefixtures("fake_stages")
def test_a_held_lake_is_left_alone(
    conf_file: Path, lake_root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with hold_lake(lake_root, "other-run", 300):
        assert main(["run", "ingest", "--conf-file", str(conf_file)]) == 5
    assert "run other-run (process " in capsys.readouterr().err
    assert {path.name for path in lake_root.iterdir()} == set()


@pytest.mark.usefixtures("fake_stages")
def test_status_shows_runs_newest_first_and_how_to_go_on(
    conf_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--conf-file", str(conf_file)]
    assert main(["nightly", *options, "--run-date", "2026-06-29", "--until", "reason_items"]) == 0
    assert main(["run", "recommend", *options, "--run-date", "2026-06-30"]) == 3
    capsys.readouterr()
    assert main(["status", *options]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].split()[0].startswith("20260630-")
    assert "orders.csv: 12 of 40 rows broke a rule" in lines[2]
    assert lines[3].endswith(f"isrf nightly --conf-file {conf_file} --run-date 2026-06-30 --from recommend")
    assert lines[4].split()[0].startswith("20260629-")
    assert "ingest .. reason_items (2)" in lines[4]


def test_explaining_an_unknown_client_is_wrong_usage(
    spark: SparkSession, lake: Lake, conf_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lake.create(tables.INTERACTIONS)
    assert main(["explain", "--user", "nobody", "--conf-file", str(conf_file)]) == 2
    complaints = [text for text in capsys.readouterr().err.splitlines() if not text.startswith("{")]
    assert complaints == [
        f"isrf: error: --user nobody: no event of this client is in the lake {lake.root}, nor is it among its clients; "
        "check the identifier."
    ]


def test_a_run_of_its_own_prints_nothing_of_spark(conf_file: Path, lake_root: Path) -> None:
    command = [sys.executable, "-m", "isrf_pipeline", "status", "--conf-file", str(conf_file)]
    lake_root.mkdir()
    done = subprocess.run(
        [*command, "--set", "spark.master=local[1]", "--set", "spark.driver_memory=1g"],
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).parents[2],
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"no run is recorded in {lake_root} yet")
