"""Stage build_interaction_graph: training events and item meaning become the semantic interaction graph."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from isrf_pipeline.embedding.fields import FIELD_COLUMNS
from isrf_pipeline.evaluation.split import training_events, validation_events
from isrf_pipeline.graphs.attributes import attribute_edges, attribute_vertices, tag_matrix
from isrf_pipeline.graphs.draw import drawn_clients
from isrf_pipeline.graphs.field_choice import ChosenField, choose_fields, held_out_gains
from isrf_pipeline.graphs.followed import followed_graph, history_moments, kernel_fields
from isrf_pipeline.graphs.interaction import graph_vertices, interaction_edges, item_edges
from isrf_pipeline.graphs.item_model import semantic_neighbours
from isrf_pipeline.graphs.meaning import WORDS, meaning_with
from isrf_pipeline.graphs.statistics import graph_statistics
from isrf_pipeline.interests.histories import coded_histories, held_out_targets, item_codes
from isrf_pipeline.interests.model import embedding_matrix, sorted_item_ids
from isrf_pipeline.lake import tables
from isrf_pipeline.logs import log_event
from isrf_pipeline.stages.context import Stage, StageContext

if TYPE_CHECKING:
    from pyspark.sql import DataFrame


def run(ctx: StageContext) -> None:
    """Build vertices and edges, store them with the weights that validation gave the model's words, and statistics."""
    settings = ctx.settings.interaction_graph
    items, clients = ctx.read(tables.ITEMS), ctx.read(tables.CLIENTS)
    interactions = ctx.read(tables.INTERACTIONS)
    training = training_events(interactions, ctx.settings.split)
    described = ctx.read(tables.ITEM_FEATURES)
    features = described.select("item_id", *FIELD_COLUMNS.values()).toArrow()
    item_ids, order = sorted_item_ids(features.column("item_id").to_pylist())
    attributes = attribute_edges(items, described).persist()
    fields = kernel_fields(features, order, tag_matrix(attributes, item_ids))
    codes = item_codes(ctx.spark, item_ids)
    histories = coded_histories(training, codes).persist()
    validation = validation_events(interactions, ctx.settings.split)
    followed, chosen = _followed(ctx, histories, validation, codes, fields)
    words = all(field.weight > 0 for field in chosen if field.field == WORDS)
    meaning = meaning_with(described, words, ctx.settings.embedding).orderBy("item_id").toArrow()
    similar = semantic_neighbours(embedding_matrix(meaning.column("embedding")), settings.semantic_neighbours)

    edges = (
        interaction_edges(training)
        .unionByName(item_edges(ctx.spark, followed, item_ids, "followed_by"))
        .unionByName(item_edges(ctx.spark, similar, item_ids, "similar_meaning"))
        .unionByName(attributes)
    )
    vertices = graph_vertices(items, clients).unionByName(attribute_vertices(attributes))
    weighed = ctx.spark.createDataFrame(
        [(field.field, field.weight, field.gain, field.error) for field in chosen],
        tables.FIELD_WEIGHTS.ddl(),
    )
    ctx.write_together((tables.VERTICES, vertices), (tables.EDGES, edges), (tables.FIELD_WEIGHTS, weighed))
    statistics = graph_statistics(ctx.lake.read(tables.VERTICES), ctx.lake.read(tables.EDGES))
    ctx.write_metrics("interaction_graph", statistics)


def _followed(
    ctx: StageContext,
    histories: DataFrame,
    validation: DataFrame,
    codes: DataFrame,
    fields: dict[str, NDArray[np.float32]],
) -> tuple[sparse.csr_matrix, list[ChosenField]]:
    """The item-item model with what validation kept of the model's words, and what became of each part of them."""
    graph = ctx.settings.interaction_graph
    n_items = len(fields["title"])
    moments = history_moments(histories, n_items, ctx.settings)
    tried = {WORDS: graph.feature_weights, "tags": graph.tag_weights}
    options = {word: tried[word] for word in tried if np.any(fields[word])}
    gains = None
    if options:
        targets = held_out_targets(validation, codes)
        judging = drawn_clients(histories.join(targets, "user_id"), graph.validation_clients)
        judges = judging.select("codes", "weights", "target").toArrow()
        if judges.num_rows:
            gains = functools.partial(
                held_out_gains, judges, decay=ctx.settings.optimize.middle_decay, window=graph.window
            )
    followed, chosen = choose_fields(
        options, lambda words: followed_graph(ctx.spark, moments, fields, words, ctx.settings), gains
    )
    for field in chosen:
        event = "field_used" if field.weight else "field_left_out"
        log_event(event, field=field.field, weight=field.weight, gain=field.gain, error=field.error)
    return followed, chosen


STAGE = Stage(
    "build_interaction_graph",
    reads=(tables.INTERACTIONS, tables.ITEMS, tables.CLIENTS, tables.ITEM_FEATURES),
    writes=(tables.VERTICES, tables.EDGES, tables.FIELD_WEIGHTS),
    run=run,
)
