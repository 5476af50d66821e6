"""Gathers the report's figures from the tables: counted in Spark, only small results come to the driver."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from isrf_pipeline.lake import Table, tables
from isrf_pipeline.report.campaigns import campaign_figures
from isrf_pipeline.report.clients import client_examples
from isrf_pipeline.report.figures import (
    ChosenModel,
    GateFigure,
    HeroFigure,
    NamedCount,
    QuarantineFigure,
    ReportFigures,
    StageFigure,
)
from isrf_pipeline.report.measures import measure_tables, model_scores, optimization_rounds
from isrf_pipeline.report.nights import changes_among, last_nights
from isrf_pipeline.report.reasoning import reasoning_figures
from isrf_pipeline.report.rules import rules_figures
from isrf_pipeline.report.segments import segment_figures
from isrf_pipeline.stages.context import StageContext
from isrf_pipeline.stages.registry import STAGE_NAMES

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

    Reader = Callable[[Table], DataFrame]

#: Hero items beyond these say little to a reader and stay in their table.
_HEROES_SHOWN = 10
#: The stage that writes the report: its own record is not there yet, an earlier one would be another run's.
_OWN_STAGE = "export"


def gather_figures(ctx: StageContext) -> ReportFigures:
    """Gather everything the report of one night shows; a table that no stage has written counts as empty.

    Parameters
    ----------
    ctx
        Lake, settings and night.
    """
    from pyspark.sql import functions as F

    night = F.col("run_date") == F.lit(ctx.run_date)

    opened: dict[str, DataFrame] = {}

    def read(table: Table) -> DataFrame:
        if table.name not in opened:
            exists = ctx.exists(table)
            rows = ctx.read(table) if exists else ctx.spark.createDataFrame([], table.ddl())
            opened[table.name] = rows.where(night) if "run_date" in table.column_names() else rows
        return opened[table.name]

    items = read(tables.ITEMS)
    recommendations = read(tables.RECOMMENDATIONS)
    catalogue = items.agg(F.count("*"), F.count_if("available")).collect()[0]
    delivered = recommendations.agg(
        F.count("*"), F.count_distinct("user_id"), F.count_distinct("item_id")
    ).collect()[0]
    segments = read(tables.SEGMENTS)
    totals = segments.agg(F.count("*"), F.coalesce(F.sum("size"), F.lit(0))).collect()[0]
    measured = {(row["metric"], row["slice"]): row["value"] for row in read(tables.METRICS).collect()}
    latest = _latest_records(read(tables.RUNS))
    newest = max(latest, key=lambda pair: pair[0], default=None)
    return ReportFigures(
        run_date=ctx.run_date,
        environment=ctx.settings.environment,
        code_version=newest[2] if newest else "",
        config_hash=newest[1] if newest else "",
        clients=read(tables.CLIENTS).count(),
        recommendations=delivered[0],
        clients_served=delivered[1],
        items_recommended=delivered[2],
        items=catalogue[0],
        items_available=catalogue[1],
        events=_named_counts(read(tables.INTERACTIONS), "event_type"),
        stages=tuple(pair[3] for pair in latest),
        quarantine=_quarantine(read(tables.QUARANTINE)),
        ingest_measures=measure_tables(measured, ("ingest",)),
        scores=model_scores(measured),
        clients_measured=int(measured.get(("evaluate.clients_measured", "all"), 0)),
        reasoning=reasoning_figures(ctx.settings.reasoning, read),
        graphs=measure_tables(measured, ("interaction_graph", "user_graph")),
        rounds=optimization_rounds(measured),
        chosen=_chosen(read(tables.INTEREST_MODEL)),
        segment_count=totals[0],
        segmented_clients=totals[1],
        segments=segment_figures(read),
        segments_died=read(tables.SEGMENT_CHANGES).where("change = 'died' AND size_before > 0").count(),
        rules=rules_figures(measured),
        heroes=_heroes(read(tables.HERO_ITEMS), items),
        campaigns=campaign_figures(read),
        examples=client_examples(read, ctx.settings.export.example_clients),
        gates=_gates(read(tables.GATES)),
        changes=changes_among({metric: value for (metric, _), value in measured.items()}),
        nights=last_nights(ctx),
    )


def _latest_records(runs: DataFrame) -> list[tuple[str, str, str, StageFigure]]:
    """(start, config hash, code version, figure) of each stage's newest record, in the order of the nightly run.

    A stage that was run again for the night alone replaces its record of the nightly run.
    """
    from pyspark.sql import functions as F

    maps = ("input_versions", "output_versions")
    fields = F.struct(*[column.name for column in tables.RUNS.columns if column.name not in maps])
    rows = (
        # What a repeated run has skipped was done by one before it.
        runs.where((F.col("stage") != _OWN_STAGE) & (F.col("status") != "skipped"))
        .groupBy("stage")
        .agg(
            F.max_by(fields, F.struct(F.coalesce("sequence", F.lit(-1)), "started_at", "run_id")).alias(
                "newest"
            )
        )
        .select("newest.*", F.col("newest.started_at").cast("string").alias("start"))
        .collect()
    )
    places = {name: place for place, name in enumerate(STAGE_NAMES)}
    rows.sort(key=lambda row: (places.get(row["stage"], len(places)), row["stage"]))
    return [
        (
            row["start"],
            row["config_hash"],
            row["code_version"],
            StageFigure(
                row["stage"],
                row["status"],
                row["seconds"],
                row["rows_in"],
                row["rows_out"],
                row["llm_calls"],
                row["llm_tokens"],
                row["error"],
            ),
        )
        for row in rows
    ]


def _named_counts(rows: DataFrame, column: str) -> tuple[NamedCount, ...]:
    from pyspark.sql import functions as F

    counted = rows.groupBy(column).agg(F.count("*").alias("rows")).orderBy(F.desc("rows"), column)
    return tuple(NamedCount(row[0], row[1]) for row in counted.collect())


def _quarantine(rows: DataFrame) -> tuple[QuarantineFigure, ...]:
    from pyspark.sql import functions as F

    counted = rows.groupBy("source", "rule").agg(F.count("*").alias("rows")).orderBy("source", "rule")
    return tuple(QuarantineFigure(*row) for row in counted.collect())


def _chosen(models: DataFrame) -> ChosenModel | None:
    row = models.first()
    if row is None:
        return None
    return ChosenModel(
        row["round"],
        row["implicit_weight"],
        row["semantic_weight"],
        row["feedback_weight"],
        row["sequence_weight"],
        row["generator_weight"],
        row["ranked_by"],
    )


def _gates(gates: DataFrame) -> tuple[GateFigure, ...]:
    columns = ("gate", "value", "allowed", "at_least", "passed", "setting", "detail")
    return tuple(GateFigure(*row) for row in gates.select(*columns).orderBy("gate").collect())


def _heroes(heroes: DataFrame, items: DataFrame) -> tuple[HeroFigure, ...]:
    from pyspark.sql import functions as F

    strongest = heroes.where(F.col("rank") <= _HEROES_SHOWN)
    named = strongest.join(items.select("item_id", "title", "brand"), "item_id", "left").orderBy("rank")
    return tuple(
        HeroFigure(
            row["item_id"],
            row["title"] or row["item_id"],
            row["brand"],
            row["segments_reached"],
            row["reach"],
            row["lift"],
        )
        for row in named.collect()
    )
