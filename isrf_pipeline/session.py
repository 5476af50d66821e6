"""Builds the Spark session: Delta, GraphFrames' jars and settings that fit small and large lakes alike."""

from __future__ import annotations

import atexit
import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from isrf_pipeline.config.settings import Settings
from isrf_pipeline.environment.jars import resolved_jars
from isrf_pipeline.errors import EnvironmentMismatchError

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

#: Needed by Delta; everything else below is for speed and may be overridden by ``spark.conf``.
_DELTA = {
    "spark.sql.extensions": "io.delta.sql.DeltaSparkSessionExtension",
    "spark.sql.catalog.spark_catalog": "org.apache.spark.sql.delta.catalog.DeltaCatalog",
}
_DEFAULTS = {
    "spark.sql.session.timeZone": "UTC",
    "spark.databricks.delta.snapshotPartitions": "2",
    "spark.databricks.delta.retentionDurationCheck.enabled": "true",
    # Files in Windows-1252, and a byte that an encoding does not have costs one row (U+FFFD) and not the run.
    "spark.sql.legacy.javaCharsets": "true",
    "spark.sql.legacy.codingErrorAction": "true",
    "spark.sql.execution.arrow.pyspark.enabled": "true",
    # Rows that hold blocks of vectors are megabytes each: a batch of the default 10,000 would not fit.
    "spark.sql.execution.arrow.maxRecordsPerBatch": "2000",
    # Each task that sorts or aggregates takes at least one page, and Spark's own choice for a heap of some gigabytes
    # is 64 MiB: small steps filled the heap with pages of a few rows.
    "spark.buffer.pageSize": "2m",
    "spark.ui.enabled": "false",
    "spark.ui.showConsoleProgress": "false",
    "spark.log.level": "ERROR",
}


def build_session(settings: Settings) -> SparkSession:
    """Return a session with Delta and GraphFrames.

    Under spark-submit the master, the jars and the Python of the workers come from its command line; a plain
    Python process starts its own session with the jars that the set-up resolved.

    Raises
    ------
    EnvironmentMismatchError
        If Java or the jars are missing.
    """
    try:
        from pyspark.sql import SparkSession
    except ImportError:
        raise EnvironmentMismatchError(
            "pyspark", "is not installed", "run make setup, or pip install 'isrf-pipeline[spark]'"
        ) from None
    builder = SparkSession.builder.appName(settings.spark.app_name)
    if not _under_spark_submit():
        builder = builder.master(settings.spark.master or settings.spark.conf.get("spark.master", "local[*]"))
    if "PYSPARK_PYTHON" not in os.environ and "spark.pyspark.python" not in settings.spark.conf:
        # Workers run another interpreter, without our packages, unless they are told which.
        os.environ["PYSPARK_PYTHON"] = sys.executable
    options = {
        **_DELTA,
        **_DEFAULTS,
        "spark.driver.memory": settings.spark.driver_memory,
        "spark.sql.shuffle.partitions": str(settings.spark.shuffle_partitions),
        **settings.spark.conf,
    }
    jars = resolved_jars()
    if jars is not None and "spark.jars.packages" not in options and not _under_spark_submit():
        options["spark.jars"] = ",".join(jars.jars)
    if "spark.driver.extraJavaOptions" not in options and not _under_spark_submit():
        # A batch cares for throughput; the default collector keeps threads of its own busy beside the tasks.
        options["spark.driver.extraJavaOptions"] = "-XX:+UseParallelGC"
    for key, value in options.items():
        builder = builder.config(key, value)
    try:
        spark = builder.getOrCreate()
    except Exception as error:
        first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise EnvironmentMismatchError(
            "Spark",
            f"the session did not start ({first[:200]})",
            "run isrf doctor, which names what is missing",
        ) from error
    _require_delta(spark)
    _put_wheels_on_workers_path(spark)
    if spark.sparkContext.getCheckpointDir() is None:
        checkpoints = settings.spark.conf.get("spark.checkpoint.dir")
        if checkpoints is None:
            checkpoints = tempfile.mkdtemp(prefix="isrf-checkpoints-")
            # Spark leaves what it wrote there behind.
            atexit.register(shutil.rmtree, checkpoints, ignore_errors=True)
        spark.sparkContext.setCheckpointDir(checkpoints)
    return spark


def _under_spark_submit() -> bool:
    return "PYSPARK_GATEWAY_PORT" in os.environ


def _put_wheels_on_workers_path(spark: SparkSession) -> None:
    """Let workers import from the wheels of ``--py-files``: Spark sends them, and leaves them off their path."""
    given = spark.sparkContext.getConf().get("spark.submit.pyFiles") or ""
    for wheel in (path for path in given.split(",") if path.endswith(".whl")):
        name = Path(wheel).with_suffix(".zip").name
        copy = Path(tempfile.mkdtemp(prefix="isrf-wheel-")) / name
        shutil.copyfile(wheel.removeprefix("file://"), copy)
        spark.sparkContext.addPyFile(str(copy))


def _require_delta(spark: SparkSession) -> None:
    jvm = spark.sparkContext._jvm
    for name, jar in (("io.delta.tables.DeltaTable", "Delta"), ("org.graphframes.GraphFrame", "GraphFrames")):
        try:
            assert jvm is not None
            jvm.java.lang.Class.forName(
                name, False, jvm.java.lang.Thread.currentThread().getContextClassLoader()
            )
        except Exception:
            raise EnvironmentMismatchError(
                f"{jar}'s jar",
                "is not on the session's class path",
                "run make setup, or give spark-submit the list that isrf doctor --jars prints",
            ) from None
