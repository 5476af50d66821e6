"""Stage export: files for CRM, the star schema for BI, the report and their manifest, replaced as a whole."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from isrf_pipeline.exports import (
    NightTables,
    Profile,
    audience_rows,
    client_lists,
    export_folder,
    point_to_current,
    profile,
    replaced_folder,
    star_frames,
    write_manifest,
)
from isrf_pipeline.exports.current import mark_current_night
from isrf_pipeline.exports.delivery import write_profiles, write_star
from isrf_pipeline.exports.manifest import describe_file
from isrf_pipeline.exports.profiles import AUDIENCES, REJECTED
from isrf_pipeline.lake import Table, bi_tables, tables
from isrf_pipeline.logs import log_event
from isrf_pipeline.publication.record import current_night, require_published
from isrf_pipeline.report import write_report
from isrf_pipeline.stages.context import Stage, StageContext

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

REPORT_FILE = "report.html"


def run(ctx: StageContext) -> None:
    """Write this night's files and tables; a second run for the same night replaces them with the same content."""
    require_published(ctx.lake, ctx.run_date)
    ctx = dataclasses.replace(ctx, published=True)
    settings = ctx.settings.export
    target = export_folder(ctx.settings, ctx.run_date)
    night = _night_tables(ctx)
    star = star_frames(night) if settings.bi else []
    # Each profile reads the lists once.
    lists = client_lists(
        night.recommendations,
        night.items,
        night.segments,
        night.clients,
        settings.crm_recommendations,
        settings.require_consent,
    ).persist()
    if "delta" in settings.bi:
        _write_bi_tables(ctx, star)
    with replaced_folder(target) as staging:
        files = write_profiles(_deliveries(ctx, night, lists), staging)
        if "parquet" in settings.bi:
            files += write_star(star, staging)
        write_report(ctx, staging / REPORT_FILE)
        files.append(describe_file(staging, staging / REPORT_FILE, rows=None))
        write_manifest(staging, ctx.run_date, files)
    point_to_current(target.parent, current_night(ctx.lake))
    lists.unpersist()
    for file in files:
        ctx.counters.rows_out += file.rows or 0
    left_out = sum(file.rows or 0 for file in files if file.path == REJECTED.file_name(1))
    if left_out:
        log_event("export_rows_left_out", rows=left_out, file=str(target / REJECTED.file_name(1)))
    log_event("exported", folder=str(target), files={file.path: file.rows for file in files})


def _night_tables(ctx: StageContext) -> NightTables:
    from pyspark.sql import functions as F

    def read(table: Table) -> DataFrame:
        return ctx.read(table).where(F.col("run_date") == F.lit(ctx.run_date))

    return NightTables(
        run_date=ctx.run_date,
        current=current_night(ctx.lake),
        recommendations=read(tables.RECOMMENDATIONS),
        segments=read(tables.SEGMENTS),
        members=read(tables.SEGMENT_MEMBERS),
        heroes=read(tables.HERO_ITEMS),
        related=read(tables.RELATED_ITEMS),
        audiences=read(tables.AUDIENCES),
        items=ctx.read(tables.ITEMS),
        clients=ctx.read(tables.CLIENTS),
    )


def _deliveries(
    ctx: StageContext, night: NightTables, lists: DataFrame
) -> list[tuple[Profile, DataFrame, tuple[str, ...]]]:
    settings = ctx.settings.export
    limit = None if settings.max_file_mb is None else settings.max_file_mb * 1_000_000
    deliveries: list[tuple[Profile, DataFrame, tuple[str, ...]]] = [
        (profile(name, settings.crm_recommendations).limited_to(limit), lists, ("user_id",))
        for name in settings.profiles
    ]
    audiences = audience_rows(night.audiences, night.clients, settings.require_consent)
    deliveries.append((AUDIENCES.limited_to(limit), audiences, ("campaign_id", "rank", "user_id")))
    return deliveries


def _write_bi_tables(ctx: StageContext, star: list[tuple[Table, DataFrame]]) -> None:
    """Replace the night's rows of the Delta tables; its row of dim_night says last that they are complete."""
    from pyspark.sql import functions as F

    newest = None
    if ctx.lake.exists(bi_tables.DIM_NIGHT):
        first = ctx.lake.read(bi_tables.DIM_NIGHT).agg(F.max("run_date")).first()
        newest = first[0] if first is not None else None
    # What clients and articles are as of the newest night does not go back when an older one is exported again.
    current = newest is None or newest <= ctx.run_date
    *others, (nights, row) = [
        (table, rows) for table, rows in star if current or "run_date" in table.column_names()
    ]
    ctx.write_together(*others)
    # No two nights are current even for an instant: one commit moves the mark from one to the other.
    ctx.write(nights, row.withColumn("is_current", F.lit(False)))
    mark_current_night(ctx.lake)


STAGE = Stage(
    "export",
    reads=(
        tables.RECOMMENDATIONS,
        tables.SEGMENTS,
        tables.SEGMENT_MEMBERS,
        tables.HERO_ITEMS,
        tables.RELATED_ITEMS,
        tables.AUDIENCES,
        tables.ITEMS,
        tables.CLIENTS,
        tables.INTERACTIONS,
        tables.QUARANTINE,
        tables.ANSWERS,
        tables.ITEM_FEATURES,
        tables.USER_FEATURES,
        tables.INTEREST_MODEL,
        tables.CAMPAIGNS,
        tables.CAMPAIGN_OVERLAPS,
        tables.RUNS,
        tables.METRICS,
    ),
    writes=bi_tables.STAR_TABLES,
    run=run,
)
