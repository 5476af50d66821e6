"""Keeps Python workers of one role apart from all others, so that what they loaded is found again by the next job.

Spark pools idle Python workers by interpreter and environment variables and ends those that were idle for a minute.
A variable of our own therefore makes a pool of its own: tasks of other stages never run in the process that holds
the engine, and consecutive jobs of the role find it.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING

from isrf_pipeline.logs import log_event

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import SparkSession

ROLE_VARIABLE = "ISRF_WORKER_ROLE"
#: The worker must have handed its result to Spark before it ends itself.
_GRACE_SECONDS = 0.5


@contextlib.contextmanager
def worker_role(spark: SparkSession, role: str) -> Iterator[None]:
    """Python functions that are made into columns or plans meanwhile run in workers of ``role``.

    Parameters
    ----------
    spark
        The session; its context's worker environment is changed and restored.
    role
        Name of the pool.
    """
    environment = spark.sparkContext.environment
    before = environment.get(ROLE_VARIABLE)
    environment[ROLE_VARIABLE] = role
    try:
        yield
    finally:
        if before is None:
            environment.pop(ROLE_VARIABLE, None)
        else:
            environment[ROLE_VARIABLE] = before


def keep_workers(spark: SparkSession, role: str, workers: int = 1) -> None:
    """Let idle workers of ``role`` live another minute, for the next stage that needs what they loaded.

    Best effort: where it fails, the next stage loads it again.
    """
    with worker_role(spark, role):
        called = spark.range(0, workers, 1, workers).mapInArrow(_stay, "id bigint")
    try:
        called.collect()
    except Exception as error:
        log_event("workers_not_kept", role=role, error=type(error).__name__)


def end_workers(spark: SparkSession, role: str, workers: int = 1) -> None:
    """End idle workers of ``role`` and so return their memory at once.

    Best effort: a worker that is missed ends by itself after a minute.
    """
    with worker_role(spark, role):
        leaving = spark.range(0, workers, 1, workers).mapInArrow(_leave, "pid bigint")
    try:
        rows = leaving.collect()
    except Exception as error:
        log_event("workers_not_ended", role=role, error=type(error).__name__)
        return
    log_event("workers_ended", role=role, pids=[row[0] for row in rows])


def _stay(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    return batches


def _leave(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    import pyarrow as pa

    for _ in batches:
        pass
    yield pa.RecordBatch.from_pydict({"pid": pa.array([os.getpid()], pa.int64())})
    timer = threading.Timer(_GRACE_SECONDS, os._exit, [0])
    timer.daemon = True
    timer.start()
