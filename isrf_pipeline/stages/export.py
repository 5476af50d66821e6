"""Stage export: the CRM file, the BI folder, the report and their manifest, replaced as a whole."""

from __future__ import annotations

import dataclasses

from isrf_pipeline.exports import (
    ExportedFile,
    bi_rows,
    crm_rows,
    export_folder,
    replaced_folder,
    write_csv_file,
    write_manifest,
    write_parquet_folder,
)
from isrf_pipeline.exports.manifest import describe_file
from isrf_pipeline.exports.writing import ROWS_PER_PARQUET_FILE
from isrf_pipeline.lake import tables
from isrf_pipeline.logs import log_event
from isrf_pipeline.publication.record import require_published
from isrf_pipeline.report import write_report
from isrf_pipeline.stages.context import Stage, StageContext

CRM_FILE = "crm_recommendations.csv"
BI_FOLDER = "bi_recommendations.parquet"
REPORT_FILE = "report.html"


def run(ctx: StageContext) -> None:
    """Write this night's files; a second run for the same night replaces them with the same content."""
    from pyspark.sql import functions as F

    require_published(ctx.lake, ctx.run_date)
    ctx = dataclasses.replace(ctx, published=True)
    settings = ctx.settings.export
    target = export_folder(ctx.settings, ctx.run_date)
    night = F.col("run_date") == F.lit(ctx.run_date)
    recommendations = ctx.read(tables.RECOMMENDATIONS).where(night)
    segments = ctx.read(tables.SEGMENTS).where(night)
    items, clients = ctx.read(tables.ITEMS), ctx.read(tables.CLIENTS)
    crm = crm_rows(
        recommendations, items, segments, clients, settings.crm_recommendations, settings.require_consent
    )
    bi = bi_rows(recommendations, items, segments)
    bi_files = max(1, -(-recommendations.count() // ROWS_PER_PARQUET_FILE))
    with replaced_folder(target) as staging:
        files: list[ExportedFile] = [write_csv_file(crm, staging, CRM_FILE, order="user_id")]
        files += write_parquet_folder(bi, staging, BI_FOLDER, "user_id", ("user_id", "rank"), bi_files)
        write_report(ctx, staging / REPORT_FILE)
        files.append(describe_file(staging, staging / REPORT_FILE, rows=None))
        write_manifest(staging, ctx.run_date, files)
    for file in files:
        ctx.counters.rows_out += file.rows or 0
    log_event("exported", folder=str(target), files={file.path: file.rows for file in files})


STAGE = Stage(
    "export",
    reads=(
        tables.RECOMMENDATIONS,
        tables.SEGMENTS,
        tables.ITEMS,
        tables.CLIENTS,
        tables.INTERACTIONS,
        tables.QUARANTINE,
        tables.ANSWERS,
        tables.ITEM_FEATURES,
        tables.USER_FEATURES,
        tables.INTEREST_MODEL,
        tables.HERO_ITEMS,
        tables.CAMPAIGNS,
        tables.CAMPAIGN_OVERLAPS,
        tables.RUNS,
        tables.METRICS,
    ),
    writes=(),
    run=run,
)
