"""Checks briefs before the night: what a brief names must be in the lake."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from isrf_pipeline.campaigns.brief import Brief
from isrf_pipeline.campaigns.targets import (
    Campaign,
    Catalogue,
    find_targets,
    theme_vectors,
    with_clients_file,
)
from isrf_pipeline.graphs.meaning import item_meaning
from isrf_pipeline.interests.model import embedding_matrix, sorted_item_ids
from isrf_pipeline.lake import tables
from isrf_pipeline.publication.record import current_night
from isrf_pipeline.stages.context import StageContext


def check_in_lake(ctx: StageContext, briefs: Sequence[Brief]) -> list[Campaign]:
    """Look up what ``briefs`` name in the newest tables of the lake.

    Parameters
    ----------
    ctx
        Gives the lake and the settings; its night is not looked at.
    briefs
        To check.

    Raises
    ------
    ConfigurationError
        For the first thing that a brief names and the lake lacks.
    MissingTableError
        If the lake has no catalogue yet.
    """
    catalogue, segments = _catalogue(ctx), _current_segments(ctx)
    themes = theme_vectors(ctx.spark, briefs, ctx.settings.embedding)
    found = [
        with_clients_file(
            find_targets(
                brief, catalogue, segments, themes.get(brief.id), ctx.settings.campaigns.theme_items
            ),
            ctx.spark,
        )
        for brief in briefs
    ]
    for campaign in found:
        for fault in campaign.faults:
            raise fault
    return found


def titles_of(ctx: StageContext, campaigns: Sequence[Campaign]) -> dict[str, str]:
    """Titles of the articles that campaigns are about; identifiers where there is none."""
    from pyspark.sql import functions as F

    wanted = sorted({item for campaign in campaigns for item in campaign.items})
    rows = ctx.read(tables.ITEMS).where(F.col("item_id").isin(wanted)).select("item_id", "title").collect()
    return {row["item_id"]: row["title"] or row["item_id"] for row in rows}


def _catalogue(ctx: StageContext) -> Catalogue:
    items = ctx.read(tables.ITEMS)
    rows = items.join(item_meaning(ctx), "item_id").select("item_id", "embedding", "available").toArrow()
    ids, order = sorted_item_ids(rows.column("item_id").to_pylist())
    available = np.asarray(rows.column("available").to_pylist(), dtype=bool)[order]
    return Catalogue(ids, embedding_matrix(rows.column("embedding"))[order], available)


def _current_segments(ctx: StageContext) -> dict[str, str]:
    from pyspark.sql import functions as F

    night = current_night(ctx.lake)
    if night is None or not ctx.lake.exists(tables.SEGMENTS):
        return {}
    rows = ctx.lake.read(tables.SEGMENTS).where(F.col("run_date") == F.lit(night))
    return {row["segment_id"]: row["name"] for row in rows.select("segment_id", "name").collect()}
