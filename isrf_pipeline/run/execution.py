"""One whole run: holds the lake, opens log and session, runs the stages."""

from __future__ import annotations

import contextlib
import datetime
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from isrf_pipeline.config import EffectiveSettings
from isrf_pipeline.config.redaction import redact_file
from isrf_pipeline.environment.java import require_java
from isrf_pipeline.errors import IsrfError
from isrf_pipeline.lake import Lake
from isrf_pipeline.logs import configure_logging, log_failure
from isrf_pipeline.run.failures import known_error, one_line
from isrf_pipeline.run.identity import new_run_id
from isrf_pipeline.run.launch import open_session, run_log_file, under_spark_submit
from isrf_pipeline.run.lease import hold_lease
from isrf_pipeline.run.lock import hold_lake, local_root
from isrf_pipeline.run.preflight import require_feasible
from isrf_pipeline.run.terminal import duration, say
from isrf_pipeline.stages.nightly import run_stages
from isrf_pipeline.stages.registry import load_stage


def execute(
    effective: EffectiveSettings,
    run_date: datetime.date,
    stage_names: Sequence[str],
    then: Callable[[Lake], None] | None = None,
    skip_fresh: bool = False,
) -> str:
    """Run stages on the lake of ``effective`` and return the run's name.

    Parameters
    ----------
    effective
        Settings of the run.
    run_date
        The night.
    stage_names
        Stages in the order in which they run.
    then
        Called with the lake after the last stage, while the session is still there.
    skip_fresh
        Whether stages are left out whose last run of this night still holds.

    Raises
    ------
    IsrfError
        Whatever stopped the run; the trace is in the log file by then.
    """
    require_feasible(effective.settings, run_date, stage_names)
    stages = [load_stage(name) for name in stage_names]
    run_id = new_run_id(run_date)
    with held_lake(effective, run_id, f"for the night {run_date}") as lake:
        records = run_stages(lake.spark, effective, run_date, run_id, stages, skip_fresh)
        say(f"done in {duration(sum(record.seconds for record in records))}")
        if then is not None:
            then(lake)
    return run_id


@contextlib.contextmanager
def held_lake(effective: EffectiveSettings, run_id: str, purpose: str) -> Iterator[Lake]:
    """Hold the lake against every other run, open its log and a session, and give it to the body.

    Parameters
    ----------
    effective
        Settings of the run.
    run_id
        Its name.
    purpose
        What it is for, said at the start.

    Raises
    ------
    LakeLockedError
        If another run holds the lake.
    """
    if not under_spark_submit():
        require_java()
    with _hold(effective, run_id):
        log_file = run_log_file(effective.settings.lake.root, run_id)
        say(f"run {run_id} {purpose}, log {log_file}")
        with logged_to(log_file), open_session(effective.settings, log_file) as spark:
            lake = Lake(spark, effective.settings.lake)
            with _lease(lake, effective, run_id):
                yield lake


@contextlib.contextmanager
def logged_to(log_file: Path) -> Iterator[None]:
    """Log the body to ``log_file``, with the trace of what stops it, without secrets that Spark may have printed.

    Raises
    ------
    IsrfError
        What the body raised; an exception that is none of ours is wrapped in one that names the log file.
    """
    configure_logging(log_file)
    try:
        yield
    except IsrfError:
        log_failure("command_failed")
        raise
    except Exception as error:
        log_failure("command_failed")
        known = known_error(error, [str(log_file.parent)])
        if known is not None:
            raise known from error
        raise IsrfError(one_line(error), "was not expected", f"the trace is in {log_file}") from error
    finally:
        configure_logging()
        # On a full disk what cannot be written anew is cut off, and what stopped the run matters more.
        with contextlib.suppress(OSError):
            if log_file.exists():
                redact_file(log_file)


@contextlib.contextmanager
def _hold(effective: EffectiveSettings, run_id: str) -> Iterator[None]:
    """Hold a lake on this machine's file system; before Spark starts, so that a second run is told at once."""
    root = local_root(effective.settings.lake.root)
    if root is None:
        yield
        return
    with hold_lake(root, run_id, effective.settings.lake.lease_seconds) as dead:
        if dead is not None:
            say(f"{dead} left its lock behind and is gone: took it over")
        yield


@contextlib.contextmanager
def _lease(lake: Lake, effective: EffectiveSettings, run_id: str) -> Iterator[None]:
    """Hold a lake that lies elsewhere."""
    if local_root(effective.settings.lake.root) is not None:
        yield
        return
    with hold_lease(lake, run_id, effective.settings.lake.lease_seconds) as silent:
        if silent is not None:
            say(f"{silent} is silent: took the lake over")
        yield
