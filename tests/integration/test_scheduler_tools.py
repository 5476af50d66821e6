"""What the schedulers' own code makes of the files below deploy/: Airflow and Databricks' package, in their own venv.

Their packages come from uv's cache in a second or two. Where that is empty, as on a new machine, they come from the
package index once; where neither has them the tests are skipped, and tests/unit/test_deploy_files.py has tested the
same files with stand-ins.
"""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from isrf_pipeline.stages.registry import STAGE_NAMES

ROOT = Path(__file__).resolve().parents[2]
NOTHING_TO_INSTALL = 3


@pytest.fixture(scope="module")
def findings(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("schedulers") / "venv"
    command = [str(ROOT / "scripts" / "check_schedulers.sh"), str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode == NOTHING_TO_INSTALL:
        pytest.skip(done.stderr.strip().splitlines()[-1])
    assert done.stdout, done.stderr[-3000:]
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_airflow_imports_the_dag(findings: dict[str, Any]) -> None:
    airflow = findings["airflow"]
    assert (airflow["errors"], airflow["dags"]) == ({}, ["isrf_nightly"])
    assert airflow["schedule"] == "30 1 * * *"
    assert airflow["task"] == {"retries": 2, "retry_seconds": 900}


def test_airflow_fills_in_the_night(findings: dict[str, Any]) -> None:
    assert findings["airflow"]["run_dates"] == ["before:2026-07-01", "2026-06-15"]


def test_airflow_runs_the_night_and_knows_its_exit_codes(findings: dict[str, Any]) -> None:
    assert findings["airflow"]["calls"] == ["nightly --conf-file conf/local.yaml --run-date 2026-06-30"]
    for_good = dict.fromkeys(("2", "3", "4"), "AirflowFailException")
    again = dict.fromkeys(("1", "130"), "AirflowException")
    assert findings["airflow"]["outcomes"] == {"0": None, **again, **for_good, "5": "AirflowSkipException"}


def test_databricks_reads_the_job(findings: dict[str, Any]) -> None:
    assert findings["databricks"] == {"isrf_nightly": list(STAGE_NAMES)}
