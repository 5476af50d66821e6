"""Stage build_interaction_graph: training events and item meaning become the semantic interaction graph."""

from __future__ import annotations

from isrf_pipeline.embedding.fields import FIELD_COLUMNS
from isrf_pipeline.evaluation.split import training_events
from isrf_pipeline.graphs.followed import followed_graph
from isrf_pipeline.graphs.interaction import graph_vertices, interaction_edges, item_edges
from isrf_pipeline.graphs.item_model import semantic_neighbours
from isrf_pipeline.graphs.statistics import graph_statistics
from isrf_pipeline.interests.histories import coded_histories, item_codes
from isrf_pipeline.interests.model import embedding_matrix, sorted_item_ids
from isrf_pipeline.lake import tables
from isrf_pipeline.stages.context import Stage, StageContext


def run(ctx: StageContext) -> None:
    """Build vertices and edges, store them, and record their statistics."""
    settings = ctx.settings.interaction_graph
    items, clients = ctx.read(tables.ITEMS), ctx.read(tables.CLIENTS)
    training = training_events(ctx.read(tables.INTERACTIONS), ctx.settings.split)
    features = (
        ctx.read(tables.ITEM_FEATURES).select("item_id", "embedding", *FIELD_COLUMNS.values()).toArrow()
    )
    item_ids, order = sorted_item_ids(features.column("item_id").to_pylist())
    embeddings = embedding_matrix(features.column("embedding"))[order]
    histories = coded_histories(training, item_codes(ctx.spark, item_ids))
    followed = followed_graph(histories, features, order, ctx.settings)
    similar = semantic_neighbours(embeddings, settings.semantic_neighbours)

    edges = (
        interaction_edges(training)
        .unionByName(item_edges(ctx.spark, followed, item_ids, "followed_by"))
        .unionByName(item_edges(ctx.spark, similar, item_ids, "similar_meaning"))
    )
    ctx.write_together((tables.VERTICES, graph_vertices(items, clients)), (tables.EDGES, edges))
    statistics = graph_statistics(ctx.lake.read(tables.VERTICES), ctx.lake.read(tables.EDGES))
    ctx.write_metrics("interaction_graph", statistics)


STAGE = Stage(
    "build_interaction_graph",
    reads=(tables.INTERACTIONS, tables.ITEMS, tables.CLIENTS, tables.ITEM_FEATURES),
    writes=(tables.VERTICES, tables.EDGES),
    run=run,
)
