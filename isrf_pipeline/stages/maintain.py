"""Stage maintain: old nights, small files, files of old versions, old exports and logs."""

from __future__ import annotations

import datetime

from isrf_pipeline.exports.folder import exports_root
from isrf_pipeline.lake import Lake, tables
from isrf_pipeline.lake.existing import existing_tables
from isrf_pipeline.logs import log_event
from isrf_pipeline.maintenance.files import maintenance_session, tidy
from isrf_pipeline.maintenance.folders import remove_old_exports, remove_old_logs
from isrf_pipeline.maintenance.rows import delete_old_rows
from isrf_pipeline.publication.record import current_night
from isrf_pipeline.run.lock import local_root
from isrf_pipeline.stages.context import Stage, StageContext

#: Version of each table when its files were last looked after: the slice is the table.
_VERSION = "maintain.version"


def run(ctx: StageContext) -> None:
    """Remove what is kept no longer, then look after the files of tables that changed often since the last time."""
    settings = ctx.settings.maintenance
    if not settings.enabled:
        log_event("maintenance_off")
        return
    # A lake of its own: its session bears the settings, and the stage's own remembers versions that change here.
    lake = Lake(maintenance_session(ctx.spark, settings), ctx.lake.settings)
    existing = existing_tables(lake)
    current = current_night(ctx.lake)
    deleted = delete_old_rows(lake, existing, ctx.run_date, settings, current)
    values: dict[tuple[str, str], float] = {("rows_deleted", name): rows for name, rows in deleted.items()}
    last = _last_versions(ctx)
    for table in existing:
        version = lake.version(table)
        if version - last.get(table.name, 0) >= settings.after_commits:
            tidied = tidy(lake, table, settings)
            values["files_compacted", table.name] = tidied.compacted
            values["files_removed", table.name] = tidied.removed
            last[table.name] = Lake(lake.spark, lake.settings).version(table)
    values |= _folders(ctx, current)
    done = {f"{name} {slice_}": value for (name, slice_), value in values.items()}
    log_event("maintained", run_id=ctx.run_id, done=done)
    ctx.write_metrics("maintain", values | {("version", name): version for name, version in last.items()})


def _last_versions(ctx: StageContext) -> dict[str, int]:
    """Version of each table when its files were last looked after, as far as it is known."""
    from pyspark.sql import functions as F

    if not ctx.lake.exists(tables.METRICS):
        return {}
    noted = ctx.lake.read(tables.METRICS).where(F.col("metric") == _VERSION)
    newest = noted.groupBy("slice").agg(F.max("value").alias("version"))
    return {row["slice"]: int(row["version"]) for row in newest.collect()}


def _folders(ctx: StageContext, current: datetime.date | None) -> dict[tuple[str, str], float]:
    settings = ctx.settings.maintenance
    root, exports = local_root(ctx.lake.root), exports_root(ctx.settings)
    first = ctx.run_date - datetime.timedelta(days=settings.run_log_days)
    return {
        ("exports_removed", "all"): len(remove_old_exports(exports, settings.export_nights, current))
        if exports
        else 0,
        ("logs_removed", "all"): remove_old_logs(root / "logs", first) if root is not None else 0,
    }


STAGE = Stage("maintain", reads=(tables.METRICS,), writes=(tables.METRICS,), run=run)
