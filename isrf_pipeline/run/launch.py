"""Starts and ends the session of a run, with everything that Spark prints in the run's log file."""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from isrf_pipeline.config import Settings
from isrf_pipeline.environment.java import require_java
from isrf_pipeline.environment.space import cannot_write
from isrf_pipeline.run.lock import local_root

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


def run_log_file(lake_root: str, run_id: str) -> Path:
    """Path of a run's log file: below a local lake, else below the temporary folder; its folder is made.

    Raises
    ------
    EnvironmentMismatchError
        If the folder cannot be made.
    """
    root = local_root(lake_root)
    folder = root / "logs" if root is not None else temporary_log_folder()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise cannot_write(str(folder), "cannot be made", error, "lake.root") from None
    return folder / f"{run_id}.log"


def temporary_log_folder() -> Path:
    """Folder for the logs of commands that do not write to a lake."""
    folder = Path(tempfile.gettempdir()) / f"isrf-logs-{os.getuid()}"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@contextlib.contextmanager
def open_session(settings: Settings, log_file: Path) -> Iterator[SparkSession]:
    """Start a session, or join the one that this process has, and end it if it was started here.

    Raises
    ------
    EnvironmentMismatchError
        If Java, Spark or the jars are missing or too old.
    """
    if not under_spark_submit():
        require_java()
    from isrf_pipeline.session import build_session

    joined = _has_session()
    with native_output_in(log_file):
        spark = build_session(settings)
        try:
            yield spark
        finally:
            if not joined:
                spark.stop()


def under_spark_submit() -> bool:
    """Whether spark-submit started this process: then the JVM is there, and its output is spark-submit's."""
    return "PYSPARK_GATEWAY_PORT" in os.environ


@contextlib.contextmanager
def native_output_in(log_file: Path) -> Iterator[None]:
    """Send to ``log_file`` what the JVM, Python workers and native libraries print while the body runs.

    They write to the descriptors 1 and 2 that they inherit; this process's own ``print`` still reaches the
    terminal.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    saved = os.dup(1), os.dup(2)
    log = os.open(log_file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    with _terminal(sys.stdout, 1) as out, _terminal(sys.stderr, 2) as err:
        try:
            os.dup2(log, 1)
            os.dup2(log, 2)
            with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
                yield
        finally:
            for mine, descriptor in zip(saved, (1, 2), strict=True):
                os.dup2(mine, descriptor)
                os.close(mine)
            os.close(log)


@contextlib.contextmanager
def _terminal(stream: TextIO, descriptor: int) -> Iterator[TextIO]:
    """Give a stream that still reaches what ``stream`` reaches when ``descriptor`` is moved elsewhere."""
    try:
        depends = stream.fileno() == descriptor
    except (OSError, AttributeError):
        depends = False
    if not depends:
        yield stream
        return
    with os.fdopen(os.dup(descriptor), "w", buffering=1, encoding=stream.encoding, errors="replace") as copy:
        yield copy


def _has_session() -> bool:
    try:
        from pyspark import SparkContext
    except ImportError:
        return False
    return SparkContext._active_spark_context is not None
