"""Earlier versions of a table: their files, and the log that quotes smallest and largest values of each file.

Delta keeps what a row was in three places after it was deleted: in the data files that the deletion replaced, in the
log's commits (statistics of files, and the condition of the deletion), and in checksums and checkpoints of earlier
versions. VACUUM removes the first. Delta's own log cleanup removes the others only after midnight and with the next
regular checkpoint, so it is done here: a commit that says nothing of rows, a checkpoint of it, and every file of the
log that is older goes. What is left is a table of one version.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from isrf_pipeline.lake import Lake, Table

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

_VERSIONED = re.compile(r"\.?(\d{20})\.")


def cleaning_session(spark: SparkSession, **conf: str) -> SparkSession:
    """A session beside ``spark`` whose settings hold for nobody else, in which VACUUM may remove what is new."""
    session = spark.newSession()
    settings = {
        "spark.databricks.delta.retentionDurationCheck.enabled": "false",
        # VACUUM lists folders in so many tasks; Spark's own 10,000 are for object stores with millions of files.
        "spark.sql.sources.parallelPartitionDiscovery.parallelism": str(
            max(2, spark.sparkContext.defaultParallelism)
        ),
        **conf,
    }
    for key, value in settings.items():
        session.conf.set(key, value)
    return session


def forget_history(lake: Lake, table: Table, run_id: str) -> None:
    """Leave only the newest version of ``table``, in files and in the log.

    Parameters
    ----------
    lake
        The lake, with a session of :func:`cleaning_session`.
    table
        An existing table.
    run_id
        Written to the table's properties: the commit that the log begins with.
    """
    address, folder = lake.address(table), table_folder(lake, table)
    jvm: Any = lake.spark.sparkContext._jvm
    java_session = lake.spark._jsparkSession
    delta_log = jvm.org.apache.spark.sql.delta.DeltaLog
    log, nothing = delta_log.forTable(java_session, folder), jvm.scala.Option.empty()
    if log.update(False, nothing, nothing).metadata().configuration().contains("delta.enableDeletionVectors"):
        # Rows that are only marked as deleted are still in their files.
        lake.spark.sql(f"REORG TABLE {address} APPLY (PURGE)")
    lake.spark.sql(f"VACUUM {address} RETAIN 0 HOURS")
    lake.spark.sql(f"ALTER TABLE {address} SET TBLPROPERTIES ('isrf.historyBegins' = '{run_id}')")
    newest: int = log.update(False, nothing, nothing).version()
    log.checkpoint()
    path = jvm.org.apache.hadoop.fs.Path(folder)
    files = path.getFileSystem(java_session.sessionState().newHadoopConf())
    for status in files.listStatus(jvm.org.apache.hadoop.fs.Path(path, "_delta_log")):
        versioned = _VERSIONED.match(status.getPath().getName())
        if versioned is not None and int(versioned.group(1)) < newest:
            files.delete(status.getPath(), False)
    # States that were read before point to files that are gone.
    delta_log.invalidateCache(java_session, path)


def table_folder(lake: Lake, table: Table) -> str:
    """Folder of an existing table, whether it is addressed by path or through a catalog."""
    if lake.settings.catalog is None:
        return lake.path(table)
    detail = lake.spark.sql(f"DESCRIBE DETAIL {lake.address(table)}").select("location").first()
    assert detail is not None
    return str(detail["location"])
