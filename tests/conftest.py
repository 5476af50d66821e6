"""Fixtures that several tiers share; tests under ``tests/unit`` use none that starts Spark."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import hypothesis
import pytest
import yaml

from isrf_pipeline.config import Settings
from isrf_pipeline.embedding.model import STRICT_MKL
from isrf_pipeline.lake import Lake

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

# As an encoder's own process does; here other tests may use torch before an encoder is made.
os.environ.setdefault("MKL_CBWR", STRICT_MKL)
# The first example of a test imports what the others find loaded: a deadline would test the machine.
hypothesis.settings.register_profile("isrf", deadline=None)
hypothesis.settings.load_profile("isrf")


@pytest.fixture(scope="session")
def spark(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SparkSession]:
    """One small local session with Delta and GraphFrames, as the pipeline itself builds it."""
    from isrf_pipeline.session import build_session

    folder = tmp_path_factory.mktemp("spark")
    settings = Settings.model_validate(
        {
            "lake": {"root": str(folder / "lake")},
            "spark": {
                "master": "local[2]",
                "app_name": "isrf-tests",
                "driver_memory": "3g",
                "shuffle_partitions": 2,
                "conf": {
                    "spark.sql.warehouse.dir": str(folder / "warehouse"),
                    "spark.local.dir": str(folder / "local"),
                    "spark.checkpoint.dir": str(folder / "checkpoints"),
                    "spark.default.parallelism": "2",
                    # Few rows, in two partitions all the same: adaptive execution would put them into one, and wait
                    # for a job of its own to decide it. The logs of such tables fill no two partitions.
                    "spark.sql.adaptive.enabled": "false",
                    "spark.databricks.delta.snapshotPartitions": "1",
                    # The optimizing compiler is for what is really hot, as in evaluation/benchmark.yaml.
                    "spark.driver.extraJavaOptions": "-XX:+UseParallelGC -XX:Tier4InvocationThreshold=30000 "
                    "-XX:Tier4MinInvocationThreshold=5000 -XX:Tier4CompileThreshold=60000 "
                    "-XX:Tier4BackEdgeThreshold=200000",
                    # Tests have tens of rows: compiling a query takes longer than interpreting it.
                    "spark.sql.codegen.wholeStage": "false",
                    "spark.sql.codegen.factoryMode": "NO_CODEGEN",
                },
            },
        }
    )
    session = build_session(settings)
    yield session
    session.stop()


@pytest.fixture(autouse=True, scope="module")
def _forgotten_tables() -> Iterator[None]:
    """Let Delta forget the tables of a module once its tests are over.

    It keeps the plans of every table's last state for an hour, some megabytes each: after some hundred lakes the heap
    of the session was full of them, and a fifth of the time went into collecting garbage.
    """
    yield
    if "pyspark" in sys.modules:
        from pyspark.sql import SparkSession

        session = SparkSession.getActiveSession()
        if session is not None:
            session.sparkContext._jvm.org.apache.spark.sql.delta.DeltaLog.clearCache()  # type: ignore[union-attr]


@pytest.fixture
def lake_root(tmp_path: Path) -> Path:
    """Root of a lake that does not exist yet."""
    return tmp_path / "lake"


@pytest.fixture
def lake_settings(lake_root: Path) -> Settings:
    """Default settings with the lake below the test's own folder."""
    return Settings.model_validate({"environment": "test", "lake": {"root": str(lake_root)}})


@pytest.fixture
def lake(spark: SparkSession, lake_settings: Settings) -> Lake:
    """An empty lake below the test's own folder."""
    return Lake(spark, lake_settings.lake)


@dataclass(frozen=True)
class DemoRun:
    """A finished ``isrf demo``, as a user has it.

    Attributes
    ----------
    root
        Working folder of the command.
    raw
        The generated source files, with the planted truth below ``truth``.
    lake_root
        The lake that the run left.
    settings_file
        The configuration it ran with.
    printed
        Standard output of the command.
    """

    root: Path
    raw: Path
    lake_root: Path
    settings_file: Path
    printed: str


#: Subjects that the tests' demo asks the real model for; asking for all of them is what ``make demo`` is for.
ASKED_ITEMS = 16
ASKED_CLIENTS = 2
#: Passes of its sequence model over the histories, for the same reason: of the whole, and of what follows.
EPOCHS = {"epochs": 6, "further_epochs": 2}


@pytest.fixture(scope="session")
def demo_run(tmp_path_factory: pytest.TempPathFactory) -> DemoRun:
    """One demo of the full size with a real vLLM engine, run by the command itself and shared by all tests.

    Tests that change anything work on a copy.
    """
    root = tmp_path_factory.mktemp("demo")
    settings = yaml.safe_load((Path(__file__).parents[1] / "conf" / "demo.yaml").read_text(encoding="utf-8"))
    settings["reasoning"].setdefault("items", {})["max_items"] = ASKED_ITEMS
    settings["reasoning"].setdefault("users", {})["max_clients"] = ASKED_CLIENTS
    settings["sequence"] = EPOCHS
    settings_file = root / "conf" / "demo.yaml"
    settings_file.parent.mkdir()
    settings_file.write_text(yaml.safe_dump(settings), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "isrf_pipeline", "demo"],
        cwd=root,
        capture_output=True,
        text=True,
        timeout=1200,
    )
    assert done.returncode == 0, (done.stdout[-3000:], done.stderr[-3000:])
    folder = root / "demo-lake"
    return DemoRun(root, folder / "raw", folder / "lake", settings_file, done.stdout)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the figures that tests recorded with ``record_property``."""
    for report in [*terminalreporter.getreports("passed"), *terminalreporter.getreports("failed")]:
        for name, value in report.user_properties:
            terminalreporter.write_line(f"{name}: {value}")
