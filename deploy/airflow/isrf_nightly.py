"""Airflow DAG: one night is one task, ``isrf nightly``.

One task and not one a stage: ``isrf nightly`` holds the lake from the first stage to the last, starts Spark once, and
goes on where it stopped, so that a retry of the task is a resume. Nine tasks would let go of the lake eight times a
night.
"""

from __future__ import annotations

import datetime
import os
from typing import Any

from airflow.providers.standard.hooks.subprocess import SubprocessHook
from airflow.sdk import DAG, BaseOperator, CronTriggerTimetable, Param
from airflow.sdk.exceptions import AirflowException, AirflowFailException, AirflowSkipException

#: Checkout with its ``.venv`` on the machine of the worker; paths of the configuration are relative to it.
FOLDER = os.environ.get("ISRF_FOLDER", "/opt/isrf")
CONF_FILE = os.environ.get("ISRF_CONF_FILE", "conf/local.yaml")
#: On a cluster: ["spark-submit", "--master", "spark://HOST:7077", "--jars", JARS, "jobs/nightly.py"] in its place.
COMMAND = [".venv/bin/isrf", "nightly"]

#: Exit codes of docs/runbook.md.
HELD_BY_ANOTHER_RUN = 5
NOT_WORTH_A_RETRY = {2: "wrong usage or configuration", 3: "input refused", 4: "stopped by a quality gate"}


class NightOperator(BaseOperator):
    """Runs one night.

    Parameters
    ----------
    run_date
        The night as YYYY-MM-DD, or ``before:YYYY-MM-DD`` for the day before; a template.
    """

    template_fields = ("run_date",)

    def __init__(self, *, run_date: str, **options: Any) -> None:
        super().__init__(**options)
        self.run_date = run_date
        self._process = SubprocessHook()

    def execute(self, context: Any) -> None:
        """Run the night and tell Airflow what its exit code means.

        Raises
        ------
        AirflowSkipException
            Another run holds the lake: nothing is wrong.
        AirflowFailException
            The next try would end the same way.
        AirflowException
            Anything else; the retry goes on where the night stopped.
        """
        command = [*COMMAND, "--conf-file", CONF_FILE, "--run-date", self.run_date]
        code = self._process.run_command(command, cwd=FOLDER).exit_code
        if code == HELD_BY_ANOTHER_RUN:
            raise AirflowSkipException("another run holds the lake")
        if code in NOT_WORTH_A_RETRY:
            raise AirflowFailException(f"exit code {code}: {NOT_WORTH_A_RETRY[code]}")
        if code != 0:
            raise AirflowException(f"exit code {code}")

    def on_kill(self) -> None:
        """End the night with the task; the next run takes its lock over."""
        self._process.send_sigterm()


with DAG(
    dag_id="isrf_nightly",
    description="Nightly recommendations",
    schedule=CronTriggerTimetable("30 1 * * *", timezone="UTC"),
    start_date=datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC),
    catchup=False,
    # Two nights at once would ask for the same lake.
    max_active_runs=1,
    params={
        "run_date": Param(
            None,
            type=["null", "string"],
            format="date",
            description="Night to run again; none: the day before the run.",
        )
    },
) as dag:
    NightOperator(
        task_id="night",
        run_date="{{ params.run_date or 'before:' ~ (dag_run.run_after | ds) }}",
        retries=2,
        # Longer than lake.lease_seconds: by then a dead run's hold on the lake has lapsed.
        retry_delay=datetime.timedelta(minutes=15),
    )
