"""Run by check_schedulers.sh with the Python of the schedulers' own environment; prints one JSON line of findings."""

from __future__ import annotations

import contextlib
import datetime
import importlib.metadata
import json
import os
import stat
import sys
import tempfile
import types
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
DEPLOY = ROOT / "deploy"
CODES = (0, 1, 2, 3, 4, 5, 130)


def airflow_findings() -> dict[str, Any]:
    """What Airflow makes of the DAG: errors of the import, its task, and what becomes of each exit code."""
    with tempfile.TemporaryDirectory() as folder:
        program = Path(folder) / ".venv" / "bin" / "isrf"
        program.parent.mkdir(parents=True)
        program.write_text('#!/bin/sh\necho "$*" >>calls\nexit "$(cat code)"\n', encoding="utf-8")
        program.chmod(program.stat().st_mode | stat.S_IXUSR)
        os.environ["ISRF_FOLDER"] = folder
        from airflow.dag_processing.dagbag import DagBag

        bag = DagBag(str(DEPLOY / "airflow"))
        found: dict[str, Any] = {"errors": bag.import_errors, "dags": sorted(bag.dags)}
        if not bag.dags:
            return found
        dag = bag.dags["isrf_nightly"]
        task = dag.get_task("night")
        rendered = dag.get_template_env().from_string(task.run_date)
        started = types.SimpleNamespace(run_after=datetime.datetime(2026, 7, 1, 1, 30, tzinfo=datetime.UTC))
        found["run_dates"] = [
            rendered.render(params={"run_date": given}, dag_run=started) for given in (None, "2026-06-15")
        ]
        found["schedule"] = dag.timetable.expression
        found["task"] = {"retries": task.retries, "retry_seconds": task.retry_delay.total_seconds()}
        task.run_date = "2026-06-30"
        outcomes = {}
        for code in CODES:
            (Path(folder) / "code").write_text(str(code), encoding="utf-8")
            try:
                task.execute({})
                outcomes[code] = None
            except Exception as error:
                outcomes[code] = type(error).__name__
        found["outcomes"] = outcomes
        found["calls"] = sorted(set((Path(folder) / "calls").read_text(encoding="utf-8").splitlines()))
        return found


def databricks_findings() -> dict[str, list[str]]:
    """Task keys of each job, as Databricks' own package reads them; it refuses fields that it does not know."""
    import yaml
    from databricks.bundles.jobs import Job

    content = yaml.safe_load((DEPLOY / "databricks" / "isrf_nightly.job.yml").read_text(encoding="utf-8"))
    return {
        name: [task.task_key for task in Job.from_dict(job).tasks]
        for name, job in content["resources"]["jobs"].items()
    }


if __name__ == "__main__":
    with contextlib.redirect_stdout(sys.stderr):
        findings = {
            "versions": {
                name: importlib.metadata.version(name) for name in ("apache-airflow", "databricks-bundles")
            },
            "airflow": airflow_findings(),
            "databricks": databricks_findings(),
        }
    print(json.dumps(findings))
    sys.exit(1 if findings["airflow"]["errors"] else 0)
