"""Old rows: nights and days beyond what the settings keep."""

from __future__ import annotations

import datetime
import functools
from collections.abc import Sequence

from isrf_pipeline.config.maintenance_settings import MaintenanceSettings
from isrf_pipeline.lake import Lake, Table
from isrf_pipeline.lake.existing import delta_table
from isrf_pipeline.lake.schema import Retention


def delete_old_rows(
    lake: Lake, tables: Sequence[Table], run_date: datetime.date, settings: MaintenanceSettings
) -> dict[str, int]:
    """Delete the rows that the retention of their table no longer keeps, one commit a table.

    Nights are counted as the table has them, the newest first: a lake that rested for a year keeps its last nights.
    Days are counted back from ``run_date``.

    Returns
    -------
    dict
        Table to the rows that went; tables that lost none are left out.
    """
    from pyspark.sql import functions as F

    kept = {table.name: (table, table.retention) for table in tables if table.retention is not None}
    deleted = {}
    for name, days in _days(lake, kept).items():
        table, retention = kept[name]
        first = first_kept(days, retention, getattr(settings, retention.setting), run_date)
        if days[0] < first:
            old = F.to_date(retention.column) < F.lit(first)
            deleted[name] = lake.read(table).where(old).count()
            delta_table(lake, table).delete(old)
    return deleted


def first_kept(
    days: Sequence[datetime.date], retention: Retention, kept: int, run_date: datetime.date
) -> datetime.date:
    """First day that stays.

    Parameters
    ----------
    days
        Days of which the table has rows, in their order.
    retention
        Whether nights or days are counted.
    kept
        How many.
    run_date
        The night of the run.
    """
    if retention.setting.endswith("_days"):
        return run_date - datetime.timedelta(days=kept)
    return days[-kept] if len(days) > kept else days[0]


def _days(lake: Lake, kept: dict[str, tuple[Table, Retention]]) -> dict[str, list[datetime.date]]:
    """Days of which each table has rows, in their order, by one query; tables without rows are left out."""
    from pyspark.sql import DataFrame
    from pyspark.sql import functions as F

    frames = [
        lake.read(table).select(F.lit(name).alias("name"), F.to_date(retention.column).alias("day"))
        for name, (table, retention) in kept.items()
    ]
    if not frames:
        return {}
    days: dict[str, list[datetime.date]] = {}
    for row in functools.reduce(DataFrame.unionByName, frames).distinct().orderBy("name", "day").collect():
        days.setdefault(row["name"], []).append(row["day"])
    return days
