"""Stage optimize: rounds in which explicit and implicit interest refine each other; validation chooses the fusion."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection
from typing import TYPE_CHECKING

import numpy as np

from isrf_pipeline.embedding.fields import FIELD_COLUMNS
from isrf_pipeline.evaluation.split import listing_day, training_events, validation_events
from isrf_pipeline.graphs.attributes import tag_matrix
from isrf_pipeline.graphs.followed import followed_graph, history_moments, kernel_fields
from isrf_pipeline.graphs.meaning import item_meaning
from isrf_pipeline.interests.chosen import ChosenModel, store_model
from isrf_pipeline.interests.earlier import earlier_histories, earlier_knowledge, earlier_model
from isrf_pipeline.interests.histories import coded_histories, held_out_targets, item_codes
from isrf_pipeline.interests.iteration import Iteration
from isrf_pipeline.interests.model import InterestModel, load_interest_model
from isrf_pipeline.interests.networks import (
    EarlierNetworks,
    broadcast_of,
    train_generators,
    train_sequences,
)
from isrf_pipeline.interests.progress import Progress
from isrf_pipeline.interests.propagation import FusionWeights
from isrf_pipeline.interests.ranker_training import train_ranker, try_ranker
from isrf_pipeline.interests.reranking import Reranking
from isrf_pipeline.interests.selection import choose
from isrf_pipeline.lake import tables
from isrf_pipeline.logs import log_event
from isrf_pipeline.ranker.model import Ranker
from isrf_pipeline.stages.context import Stage, StageContext

if TYPE_CHECKING:
    from pyspark.sql import DataFrame


def run(ctx: StageContext) -> None:
    """Run the rounds, store each round's graph, and write the settings that validation chose."""
    settings = ctx.settings
    interactions = ctx.read(tables.INTERACTIONS)
    training = training_events(interactions, settings.split)
    model = load_interest_model(ctx.read(tables.ITEMS), item_meaning(ctx), ctx.read(tables.EDGES), training)
    codes = item_codes(ctx.spark, model.item_ids)
    histories = coded_histories(training, codes).persist()
    progress = Progress.open(ctx)
    sequences = train_sequences(ctx, histories, model, progress)
    generators = train_generators(ctx, histories, model, progress)
    if sequences is not None:
        model = dataclasses.replace(model, sequence=sequences[1])
    shared = ctx.spark.sparkContext.broadcast(model)
    generator = generators[1] if generators is not None else None
    targets = held_out_targets(validation_events(interactions, settings.split), codes).persist()
    judged_on = listing_day(interactions, settings.split, "validation")
    iteration = Iteration(
        ctx, histories, targets, shared, model.popularity, judged_on, broadcast_of(ctx, generator)
    )
    iteration.run(progress)
    metrics = iteration.metrics
    value, chosen_round, weights = choose(iteration.results, settings)
    alignments = iteration.alignments(chosen_round)
    ranker = None
    if settings.ranker.enabled and iteration.results:
        judged = iteration.judged(chosen_round)
        if settings.ranker.labels == "validation":
            ranker, found = train_ranker(judged, shared, weights, settings)
        else:
            before = EarlierNetworks(
                sequences[0] if sequences is not None else None,
                generators[0] if generators is not None else None,
            )
            ranker, found = _trained_ranker(
                ctx, histories, model, before, chosen_round, weights, alignments.keys()
            )
        metrics |= {(f"ranker.{name}", "all"): number for name, number in found.items()}
        # What learned from the validation events cannot be judged by them.
        if ranker is not None and settings.ranker.labels == "training":
            reranking = Reranking(ranker, settings.ranker, settings.optimize.scorers)
            trial = try_ranker(judged, shared, weights, reranking, settings)
            metrics["ranker.validation_ndcg@10", "all"] = trial.ndcg
            metrics["ranker.validation_gain", "all"] = trial.gain
            metrics["ranker.validation_gain_error", "all"] = trial.error
            if trial.helps(settings.ranker):
                value = trial.ndcg
            else:
                ranker = None
                log_event("ranker_left_out", fusion=value, gain=trial.gain, error=trial.error)
    # The fusion without the generator needs it no more; a ranker's candidates come from it all the same.
    kept = generator if weights.generator or ranker is not None else None
    chosen = ChosenModel(chosen_round, weights, model.sequence, ranker, alignments, kept)
    store_model(ctx, chosen, value)
    ctx.write_metrics("optimize", metrics)
    progress.clear()
    shared.unpersist()


def _trained_ranker(
    ctx: StageContext,
    histories: DataFrame,
    model: InterestModel,
    networks: EarlierNetworks,
    chosen_round: int,
    weights: FusionWeights,
    aligned_rounds: Collection[int],
) -> tuple[Ranker | None, dict[str, float]]:
    """The ranker and what it learned from, out of what was known before the clients' last training events."""
    before = earlier_histories(histories).persist()
    features = ctx.read(tables.ITEM_FEATURES).select("item_id", *FIELD_COLUMNS.values()).toArrow()
    # By the model's codes: features may still hold an article that the catalogue has lost since.
    rows = {item: row for row, item in enumerate(features.column("item_id").to_pylist())}
    order = np.array([rows[item] for item in model.item_ids.tolist()], np.int64)
    fields = kernel_fields(features, order, tag_matrix(ctx.read(tables.EDGES), model.item_ids))
    # Validation has chosen them for the graph of all training events; here they are only applied.
    words = {row["field"]: row["weight"] for row in ctx.read(tables.FIELD_WEIGHTS).collect()}
    moments = history_moments(before, model.n_items, ctx.settings)
    followed = followed_graph(ctx.spark, moments, fields, words, ctx.settings)
    shared = ctx.spark.sparkContext.broadcast(earlier_model(model, before, followed, networks.sequence))
    earlier = earlier_knowledge(
        before,
        shared,
        chosen_round,
        ctx.settings,
        aligned_rounds,
        broadcast_of(ctx, networks.generator),
    )
    trained = train_ranker(earlier.inputs, shared, weights, ctx.settings)
    shared.unpersist()
    return trained


STAGE = Stage(
    "optimize",
    reads=(
        tables.INTERACTIONS,
        tables.ITEMS,
        tables.ITEM_FEATURES,
        tables.EDGES,
        tables.FIELD_WEIGHTS,
        tables.PROFILES,
        tables.SIMILARITY,
    ),
    writes=(
        tables.PROFILES,
        tables.SIMILARITY,
        tables.INTEREST_MODEL,
        tables.INTEREST_PARAMETERS,
        tables.PROGRESS,
    ),
    run=run,
)
