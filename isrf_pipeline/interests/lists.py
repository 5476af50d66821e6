"""Ranked lists for every client from the stored model: what recommend delivers and evaluate measures."""

from __future__ import annotations

from typing import TYPE_CHECKING

from isrf_pipeline.interests.ranking import rank_items
from isrf_pipeline.interests.reranking import Reranking
from isrf_pipeline.interests.scoring_inputs import ScoringInputs, scoring_inputs
from isrf_pipeline.stages.context import StageContext

if TYPE_CHECKING:
    from pyspark.sql import DataFrame


def ranked_lists(
    ctx: StageContext, events: DataFrame, excluded: DataFrame, only_available: bool, day: int | None
) -> DataFrame:
    """Rank items for every client of the lake from the given events.

    Parameters
    ----------
    ctx, events, excluded, day
        See :func:`isrf_pipeline.interests.scoring_inputs.scoring_inputs`.
    only_available
        Leave out items that are not available.

    Returns
    -------
    DataFrame
        See :func:`isrf_pipeline.interests.ranking.rank_items`.
    """
    inputs = scoring_inputs(ctx, events, excluded, only_available, day)
    return lists_from(ctx, inputs, only_available)


def lists_from(ctx: StageContext, inputs: ScoringInputs, only_available: bool) -> DataFrame:
    """Rank items for the clients of ``inputs``; see :func:`ranked_lists`."""
    settings, chosen = ctx.settings, inputs.chosen
    return rank_items(
        inputs.clients,
        inputs.model,
        chosen.weights,
        settings.interaction_graph,
        settings.optimize,
        settings.recommend.top_n,
        only_available,
        Reranking(chosen.ranker, settings.ranker, settings.optimize.scorers)
        if chosen.ranker is not None
        else None,
    )
