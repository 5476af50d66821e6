"""What ops.runs keeps of each stage of each run."""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from typing import TYPE_CHECKING

from isrf_pipeline.lake import Lake, tables
from isrf_pipeline.stages.context import StageCounters

if TYPE_CHECKING:
    from pyspark.sql import Column, Row


@dataclass(frozen=True)
class RunIdentity:
    """What all records of one run share.

    Attributes
    ----------
    run_id
        The run.
    run_date
        Its night.
    config_hash
        Hash of its effective settings.
    code_version
        Version of the package.
    """

    run_id: str
    run_date: datetime.date
    config_hash: str
    code_version: str


@dataclass(frozen=True)
class StageRecord:
    """How one stage of one run went.

    Attributes
    ----------
    stage
        Its name.
    started_at, finished_at
        In UTC.
    seconds
        Wall time.
    counters
        What it read, wrote and spent.
    error
        One line where it failed, else None.
    skipped
        Whether it was not run, since nothing it depends on has changed.
    """

    stage: str
    started_at: datetime.datetime
    finished_at: datetime.datetime
    seconds: float
    counters: StageCounters
    error: str | None = None
    skipped: bool = False

    @property
    def status(self) -> str:
        """Done, partial (a budget ended the work early), failed or skipped."""
        if self.skipped:
            return "skipped"
        if self.error is not None:
            return "failed"
        return "done" if self.counters.stopped_by is None else "partial"


def append_record(lake: Lake, run: RunIdentity, record: StageRecord) -> None:
    """Append one row to ops.runs."""
    counters = record.counters
    row = (
        run.run_id,
        run.run_date,
        record.stage,
        record.status,
        record.started_at,
        record.finished_at,
        record.seconds,
        counters.rows_in,
        counters.rows_out,
        counters.llm_calls,
        counters.llm_tokens,
        counters.input_versions,
        run.config_hash,
        run.code_version,
        record.error or (counters.stopped_by and f"stopped at {counters.stopped_by}"),
        counters.output_versions,
        # Grows with every record, which the clock does not: it may be set back between two runs.
        lake.version(tables.RUNS) + 1,
    )
    lake.append(tables.RUNS, lake.spark.createDataFrame([row], tables.RUNS.ddl()))


def newest_first() -> list[Column]:
    """Order of the rows of ops.runs, the newest first: as they were recorded, whatever the clock said.

    Rows of before there was a sequence come last, by the clock.
    """
    from pyspark.sql import functions as F

    return [F.desc_nulls_last("sequence"), F.desc("started_at"), F.desc("run_id")]


def last_runs(lake: Lake, count: int) -> list[list[Row]]:
    """Records of the ``count`` runs that ran last, newest run first, its stages in the order they ran."""
    from pyspark.sql import functions as F

    records = lake.read(tables.RUNS)
    newest = (
        records.groupBy("run_id")
        .agg(F.max("sequence").alias("sequence"), F.max("started_at").alias("started_at"))
        .orderBy(*newest_first())
        .limit(count)
    )
    rows = records.join(F.broadcast(newest.select("run_id")), "run_id").orderBy(*newest_first()).collect()
    runs: dict[str, list[Row]] = {}
    for row in rows:
        runs.setdefault(row["run_id"], []).insert(0, row)
    return list(runs.values())
