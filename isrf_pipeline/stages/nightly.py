"""Runs stages in their order: times, counts, records and shows each of them."""

from __future__ import annotations

import contextlib
import datetime
import tempfile
import time
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from isrf_pipeline import __version__
from isrf_pipeline.config import EffectiveSettings, Settings
from isrf_pipeline.exports.folder import exports_root
from isrf_pipeline.lake import Lake
from isrf_pipeline.logs import log_event, log_failure
from isrf_pipeline.run.failures import known_error, one_line
from isrf_pipeline.run.freshness import is_fresh, last_records, left_versions
from isrf_pipeline.run.lock import local_root
from isrf_pipeline.run.records import RunIdentity, StageRecord, append_record
from isrf_pipeline.run.terminal import duration, say
from isrf_pipeline.run.volumes import KnownVolumes, rows_read
from isrf_pipeline.stages.context import Stage, StageContext, StageCounters

if TYPE_CHECKING:
    from pyspark.sql import Row, SparkSession


def run_stages(
    spark: SparkSession,
    effective: EffectiveSettings,
    run_date: datetime.date,
    run_id: str,
    stages: Iterable[Stage],
    skip_fresh: bool = False,
) -> list[StageRecord]:
    """Run ``stages`` one after the other and append one row of ops.runs for each.

    Parameters
    ----------
    spark
        The session.
    effective
        Settings of the run.
    run_date
        The night.
    run_id
        The run.
    stages
        In the order in which they run.
    skip_fresh
        Whether a stage is left out where its last run of this night still holds, see
        :mod:`isrf_pipeline.run.freshness`.

    Returns
    -------
    list of StageRecord
        What was recorded, in the order of ``stages``.

    Raises
    ------
    IsrfError
        What a stage raised, after it was recorded as failed; an error of ours that a Python worker raised comes
        as itself and not in Spark's wrapping. Later stages do not run.
    """
    lake = Lake(spark, effective.settings.lake)
    run = RunIdentity(run_id, run_date, effective.config_hash, __version__)
    log_event(
        "run_started",
        run_id=run_id,
        run_date=run_date,
        config_hash=effective.config_hash,
        version=__version__,
    )
    volumes: KnownVolumes = {}
    # Each stage runs once: what this run records of the others does not change what is asked here.
    last = last_records(lake, run_date) if skip_fresh else None
    records = [_run_one(stage, lake, effective, run, volumes, last) for stage in stages]
    log_event("run_done", run_id=run_id, seconds=round(sum(record.seconds for record in records), 3))
    return records


def _run_one(
    stage: Stage,
    lake: Lake,
    effective: EffectiveSettings,
    run: RunIdentity,
    volumes: KnownVolumes,
    last: Mapping[str, Row] | None,
) -> StageRecord:
    counters = StageCounters()
    context = StageContext(lake.spark, effective.settings, lake, run.run_date, run.run_id, counters)
    started_at, clock = _now(), time.perf_counter()
    if last is not None and is_fresh(stage, context, run, last.get(stage.name)):
        record = StageRecord(stage.name, started_at, started_at, 0.0, counters, skipped=True)
        append_record(lake, run, record)
        log_event("stage_skipped", run_id=run.run_id, stage=stage.name)
        say(f"· {stage.name:<24}{'unchanged':>12}")
        return record
    log_event("stage_started", run_id=run.run_id, stage=stage.name)
    try:
        counters.input_versions |= stage.sources(context) if stage.sources is not None else {}
        stage.run(context)
        counters.output_versions |= left_versions(context, stage.writes)
        # Ingest reads sources and has counted them itself.
        counters.rows_in = counters.rows_in or rows_read(lake, counters.input_versions, volumes)
    except BaseException as error:
        known = known_error(error, _written_folders(lake, effective.settings))
        failed = _record(stage, started_at, time.perf_counter() - clock, counters, one_line(known or error))
        log_event("stage_failed", run_id=run.run_id, stage=stage.name, error=failed.error)
        say(f"✗ {stage.name:<24}{duration(failed.seconds):>12}")
        _record_failure(lake, run, failed)
        if known is None or known is error:
            raise
        raise known from error
    finally:
        # What one stage left cached is of no use to the next; a JVM that is gone has nothing cached.
        with contextlib.suppress(Exception):
            lake.spark.catalog.clearCache()
    record = _record(stage, started_at, time.perf_counter() - clock, counters)
    append_record(lake, run, record)
    log_event(
        "stage_done",
        run_id=run.run_id,
        stage=stage.name,
        status=record.status,
        seconds=round(record.seconds, 3),
        rows_in=counters.rows_in,
        rows_out=counters.rows_out,
        llm_calls=counters.llm_calls,
        llm_tokens=counters.llm_tokens,
    )
    calls = (
        f"  {counters.llm_calls:,} LLM calls, {counters.llm_tokens:,} tokens" if counters.llm_calls else ""
    )
    partly = f"  partial: stopped at {counters.stopped_by}" if counters.stopped_by else ""
    say(f"✓ {stage.name:<24}{duration(record.seconds):>12}  {counters.rows_out:>12,} rows{calls}{partly}")
    return record


def _record(
    stage: Stage,
    started_at: datetime.datetime,
    seconds: float,
    counters: StageCounters,
    error: str | None = None,
) -> StageRecord:
    # No second look at the clock: it may have been set back since the start.
    finished_at = started_at + datetime.timedelta(seconds=seconds)
    return StageRecord(stage.name, started_at, finished_at, seconds, counters, error)


def _written_folders(lake: Lake, settings: Settings) -> list[str]:
    """Folders of this machine that a stage writes to."""
    exports = exports_root(settings)
    # Spark's own way to name them is settled when a session starts.
    spilled = settings.spark.conf.get("spark.local.dir", tempfile.gettempdir()).split(",")
    return [str(folder) for folder in (local_root(lake.root), exports, *spilled) if folder is not None]


def _record_failure(lake: Lake, run: RunIdentity, failed: StageRecord) -> None:
    """Record a failure if that is still possible; the stage's own error matters more than a second one."""
    try:
        append_record(lake, run, failed)
    except Exception:
        log_failure("record_failed", run_id=run.run_id, stage=failed.stage)


def _now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC)
