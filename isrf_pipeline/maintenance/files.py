"""Files of tables: small ones are compacted, those that no version needs are removed, and so are old logs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from isrf_pipeline.config.maintenance_settings import MaintenanceSettings
from isrf_pipeline.lake import Lake, Table, tables

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


@dataclass(frozen=True)
class Tidied:
    """What became of the files of one table.

    Attributes
    ----------
    compacted
        Small files that went into large ones.
    removed
        Files that no version kept any more.
    """

    compacted: int
    removed: int


def maintenance_session(spark: SparkSession, settings: MaintenanceSettings) -> SparkSession:
    """A session beside ``spark`` with the settings of compaction; its commits bear a note."""
    session = spark.newSession()
    target = settings.target_file_mb << 20
    for key, value in {
        "spark.databricks.delta.optimize.maxFileSize": str(target),
        "spark.databricks.delta.optimize.minFileSize": str(target),
        "spark.databricks.delta.commitInfo.userMetadata": tables.MAINTENANCE_NOTE,
        # Delta would refuse less than a week; the least that settings take protects readers well enough.
        "spark.databricks.delta.retentionDurationCheck.enabled": "false",
        # VACUUM lists folders in so many tasks; Spark's own 10,000 are for stores with millions of files.
        "spark.sql.sources.parallelPartitionDiscovery.parallelism": str(
            max(2, spark.sparkContext.defaultParallelism)
        ),
    }.items():
        session.conf.set(key, value)
    return session


def tidy(lake: Lake, table: Table, settings: MaintenanceSettings) -> Tidied:
    """Compact and vacuum ``table`` and set how long its log is kept.

    Parameters
    ----------
    lake
        The lake, with a session of :func:`maintenance_session`.
    table
        An existing table.
    settings
        Sizes and times.
    """
    address = lake.address(table)
    _keep_for(lake, address, settings)
    compacted = lake.spark.sql(f"OPTIMIZE {address}").selectExpr("metrics.numFilesRemoved").first()
    # Delta takes the hours from the table's properties: of those in the statement it heeds none but 0.
    lake.spark.sql(f"VACUUM {address}")
    newest = (
        lake.spark.sql(f"DESCRIBE HISTORY {address} LIMIT 1").select("operation", "operationMetrics").first()
    )
    # What VACUUM removed stands in its own commit.
    counted = newest["operationMetrics"] if newest is not None and newest["operation"] == "VACUUM END" else {}
    return Tidied(
        int(compacted[0]) if compacted is not None else 0, int((counted or {}).get("numDeletedFiles", 0))
    )


def _keep_for(lake: Lake, address: str, settings: MaintenanceSettings) -> None:
    """Set how long a table's log and files of old versions are kept; VACUUM goes by the latter."""
    wanted = {
        "delta.logRetentionDuration": f"interval {settings.log_days} days",
        "delta.deletedFileRetentionDuration": f"interval {settings.vacuum_hours} hours",
    }
    detail = lake.spark.sql(f"DESCRIBE DETAIL {address}").select("properties").first()
    there = (detail["properties"] or {}) if detail is not None else {}
    if any(there.get(key) != value for key, value in wanted.items()):
        told = ", ".join(f"'{key}' = '{value}'" for key, value in wanted.items())
        lake.spark.sql(f"ALTER TABLE {address} SET TBLPROPERTIES ({told})")
