"""The campaigns of one night: their audiences, what came of each brief, what they share with earlier ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from isrf_pipeline.campaigns.audiences import best_clients, with_item_reasons, with_segment_reasons
from isrf_pipeline.campaigns.brief import Brief
from isrf_pipeline.campaigns.eligibility import rule_counts, with_rules
from isrf_pipeline.campaigns.loading import load_briefs
from isrf_pipeline.campaigns.overlaps import earlier_audiences, overlaps
from isrf_pipeline.campaigns.results import audience_sizes, counts_by_fit, result_row
from isrf_pipeline.campaigns.targets import (
    Campaign,
    Catalogue,
    find_targets,
    theme_vectors,
    with_clients_file,
)
from isrf_pipeline.interests.fits import FIT_SCHEMA, FitTarget, client_fits
from isrf_pipeline.interests.scoring_inputs import ScoringInputs
from isrf_pipeline.lake import tables
from isrf_pipeline.logs import log_event
from isrf_pipeline.stages.context import StageContext

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

#: Columns of gold.audiences that campaigns have and hero items have not.
_OWN_COLUMNS = {"item_id": "string", "reason": "string", "holdout": "boolean"}


@dataclass(frozen=True)
class CampaignNight:
    """What the campaigns of a night come to.

    Attributes
    ----------
    audience
        campaign_id, user_id, rank, score, item_id, reason, holdout.
    results
        Rows of gold.campaigns.
    shared
        Rows of gold.campaign_overlaps but for run_date.
    """

    audience: DataFrame
    results: DataFrame
    shared: DataFrame


def briefs_of_the_night(ctx: StageContext) -> list[Brief]:
    """Briefs that ``campaigns.briefs`` names and whose dates hold the night; none is read where none is named.

    Raises
    ------
    ConfigurationError
        If a brief is not what a brief must be, whatever its dates.
    """
    briefs = load_briefs(ctx.settings.campaigns.briefs)
    return [brief for brief in briefs if brief.runs_on(ctx.run_date)]


def write_audiences(ctx: StageContext, heroes: DataFrame, night: CampaignNight | None) -> None:
    """Store the night's audiences and what came of its campaigns.

    Parameters
    ----------
    ctx
        The stage recommend.
    heroes
        campaign_id, user_id, rank, score of hero items.
    night
        The campaigns, or None where there are none.
    """
    from pyspark.sql import functions as F

    date = F.lit(ctx.run_date)
    audience = heroes.withColumns({name: F.lit(None).cast(type_) for name, type_ in _OWN_COLUMNS.items()})
    if night is not None:
        audience = audience.unionByName(night.audience)
    ctx.write(tables.AUDIENCES, audience.withColumn("run_date", date))
    if night is not None:
        ctx.write_together(
            (tables.CAMPAIGNS, night.results),
            (tables.CAMPAIGN_OVERLAPS, night.shared.withColumn("run_date", date)),
        )
        return
    # What the same night wrote with other briefs must not stay.
    for table in (tables.CAMPAIGNS, tables.CAMPAIGN_OVERLAPS):
        if ctx.exists(table):
            ctx.write(table, ctx.spark.createDataFrame([], table.ddl()))


def campaign_night(
    ctx: StageContext,
    briefs: Sequence[Brief],
    inputs: ScoringInputs,
    bought: DataFrame,
    members: DataFrame,
    only_available: bool,
) -> CampaignNight | None:
    """Choose the audiences of ``briefs``; None where there are none.

    Parameters
    ----------
    ctx
        The stage recommend.
    briefs
        Those of the night.
    inputs
        Every client as the lists see them.
    bought
        user_id, item_id: what a client's list must not hold.
    members
        user_id, segment_id, affinity of the night.
    only_available
        Whether lists hold available articles alone.
    """
    if not briefs:
        return None
    found = _find(ctx, briefs, inputs)
    # Those that are judged by articles come first: their positions are those of their targets.
    running = sorted(
        (campaign for campaign in found if campaign.runs), key=lambda campaign: not campaign.items
    )
    rows = [result_row(ctx.run_date, campaign, -1, {}, {}, {}) for campaign in found if not campaign.runs]
    audience = ctx.spark.createDataFrame([], tables.AUDIENCES.ddl()).drop("run_date")
    shared = ctx.spark.createDataFrame([], tables.CAMPAIGN_OVERLAPS.ddl()).drop("run_date")
    if running:
        earlier = earlier_audiences(ctx)
        judged = with_rules(
            inputs.clients, running, ctx.read(tables.CLIENTS), members, bought, earlier, ctx.run_date
        )
        fits = _fits(ctx, judged, running, inputs, only_available).persist()
        excluded, by_fit = rule_counts(judged), counts_by_fit(fits, running)
        # Checkpointed, since writing the table that earlier audiences are read from would have it computed again.
        chosen = best_clients(fits, running).localCheckpoint()
        fits.unpersist()
        sizes = audience_sizes(chosen)
        rows += [
            result_row(ctx.run_date, campaign, place, excluded, by_fit, sizes)
            for place, campaign in enumerate(running)
        ]
        audience, shared = _with_reasons(ctx, chosen, running), overlaps(chosen, earlier)
    for row in rows:
        log_event("campaign", **dict(zip(tables.CAMPAIGNS.column_names(), row, strict=True)))
    return CampaignNight(audience, ctx.spark.createDataFrame(rows, tables.CAMPAIGNS.ddl()), shared)


def _find(ctx: StageContext, briefs: Sequence[Brief], inputs: ScoringInputs) -> list[Campaign]:
    """What the briefs name, looked up in tonight's tables."""
    from pyspark.sql import functions as F

    items = inputs.model.value
    catalogue = Catalogue(items.item_ids, items.embeddings, items.available)
    segments: dict[str, str] = {}
    if any(brief.target.segment is not None or brief.exclude.segments for brief in briefs):
        rows = ctx.read(tables.SEGMENTS).where(F.col("run_date") == F.lit(ctx.run_date))
        segments = {row["segment_id"]: row["name"] for row in rows.select("segment_id", "name").collect()}
    themes = theme_vectors(ctx.spark, briefs, ctx.settings.embedding)
    return [
        with_clients_file(
            find_targets(
                brief, catalogue, segments, themes.get(brief.id), ctx.settings.campaigns.theme_items
            ),
            ctx.spark,
        )
        for brief in briefs
    ]


def _fits(
    ctx: StageContext,
    judged: DataFrame,
    running: Sequence[Campaign],
    inputs: ScoringInputs,
    only_available: bool,
) -> DataFrame:
    """user_id, target (position in ``running``), fit, segment_id and what :func:`client_fits` knows beside."""
    from pyspark.sql import functions as F

    item_ids = inputs.model.value.item_ids
    targets = [
        FitTarget(
            np.searchsorted(item_ids, np.asarray(list(campaign.items), np.str_)).astype(np.int64),
            np.asarray(list(campaign.items.values())),
            campaign.brief.min_score,
            campaign.brief.judged_by == "best",
        )
        for campaign in running
        if campaign.items
    ]
    fits = ctx.spark.createDataFrame([], f"{FIT_SCHEMA}, segment_id string")
    if targets:
        asked = [F.when(F.col("rules")[place].isNull(), F.lit(place)) for place in range(len(targets))]
        clients = judged.withColumn("targets", F.array_compact(F.array(*asked))).drop(
            "rules", "segment_id", "affinity"
        )
        fits = client_fits(
            clients.where(F.size("targets") > 0),
            inputs.model,
            inputs.chosen.weights,
            ctx.settings.interaction_graph,
            ctx.settings.optimize,
            targets,
            only_available,
        ).withColumn("segment_id", F.lit(None).cast("string"))
    for place in range(len(targets), len(running)):
        members = judged.where(F.col("rules")[place].isNull()).select(
            "user_id", F.lit(place).alias("target"), F.col("affinity").alias("fit"), "segment_id"
        )
        fits = fits.unionByName(members, allowMissingColumns=True)
    return fits


def _with_reasons(ctx: StageContext, chosen: DataFrame, running: Sequence[Campaign]) -> DataFrame:
    from pyspark.sql import functions as F

    by_items = sum(bool(campaign.items) for campaign in running)
    of_items = with_item_reasons(
        chosen.where(F.col("target") < by_items), ctx.read(tables.ITEMS), ctx.read(tables.ITEM_FEATURES)
    )
    night = F.col("run_date") == F.lit(ctx.run_date)
    of_segments = with_segment_reasons(
        chosen.where(F.col("target") >= by_items), ctx.read(tables.SEGMENTS).where(night)
    )
    columns = [F.col(name) for name in ("campaign_id", "user_id", "rank", *_OWN_COLUMNS)]
    columns.append(F.col("fit").alias("score"))
    return of_items.select(*columns).unionByName(of_segments.select(*columns))
