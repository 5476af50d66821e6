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
    lake: Lake,
    tables: Sequence[Table],
    run_date: datetime.date,
    settings: MaintenanceSettings,
    current: datetime.date | None,
) -> dict[str, int]:
    """Delete the rows that the retention of their table no longer keeps, one commit a table.

    Nights are counted as the table has them, the newest first: a lake that rested for a year keeps its last nights.
    Days are counted back from ``run_date``. Of what is kept by nights, the night that consumers see stays with all
    that came after it, however old it is: a rollback may have gone further back than the settings reach.

    Parameters
    ----------
    lake
        The lake.
    tables
        Tables that it has.
    run_date
        The night of the run.
    settings
        What is kept.
    current
        The night that consumers see; None where none is published.

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
        first = first_kept(days, retention, getattr(settings, retention.setting), run_date, current)
        if days[0] < first:
            old = F.to_date(retention.column) < F.lit(first)
            deleted[name] = lake.read(table).where(old).count()
            delta_table(lake, table).delete(old)
    return deleted


def first_kept(
    days: Sequence[datetime.date],
    retention: Retention,
    kept: int,
    run_date: datetime.date,
    current: datetime.date | None = None,
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
    current
        A night that stays where nights are counted.
    """
    if retention.setting.endswith("_days"):
        return run_date - datetime.timedelta(days=kept)
    first = days[-kept] if len(days) > kept else days[0]
    return first if current is None else min(first, current)


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
