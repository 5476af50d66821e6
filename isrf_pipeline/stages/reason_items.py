"""Stage reason_items: what each item of the catalogue means to clients, in words, tags and vectors."""

from __future__ import annotations

from typing import TYPE_CHECKING

from isrf_pipeline.embedding.fields import embed_fields, field_texts
from isrf_pipeline.evaluation.split import training_events
from isrf_pipeline.lake import tables
from isrf_pipeline.reasoning.backends import BackendFactory, backend_of_this_process
from isrf_pipeline.reasoning.items import (
    features_without_model,
    item_subjects,
    semantic_features,
)
from isrf_pipeline.reasoning.waves import ENGINE_ROLE, reason_over
from isrf_pipeline.reasoning.workers import keep_workers
from isrf_pipeline.stages.context import Stage, StageContext

if TYPE_CHECKING:
    from pyspark.sql import DataFrame


def run(ctx: StageContext, backend: BackendFactory = backend_of_this_process) -> None:
    """Ask the model for what is missing, embed, and write one row for every item.

    The worker that holds the engine is left idle: reason_users finds it if it comes within a minute, else Spark
    ends it.
    """
    reasoning = ctx.settings.reasoning
    items = ctx.read(tables.ITEMS)
    features = _features(ctx, items, backend).persist()
    try:
        embedding = ctx.settings.embedding
        texts = field_texts(items, features, embedding.leave_out_attributes)
        ctx.write(tables.ITEM_FEATURES, features.join(embed_fields(texts, embedding, ctx), "item_id"))
    finally:
        features.unpersist()
    if reasoning.backend == "engine" and reasoning.users.enabled:
        # Its minute began with the last answer, and embedding took most of it.
        keep_workers(ctx.spark, ENGINE_ROLE, reasoning.workers)


def _features(ctx: StageContext, items: DataFrame, backend: BackendFactory) -> DataFrame:
    settings = ctx.settings.reasoning
    if settings.backend == "none":
        return features_without_model(items, "reasoning is off (reasoning.backend is none)")
    if not settings.items.enabled:
        return features_without_model(items, "reasoning over items is off")
    subjects = item_subjects(items, sold_items(ctx))
    return semantic_features(items, reason_over(ctx, "item", subjects, settings.items.max_items, backend))


def sold_items(ctx: StageContext) -> DataFrame | None:
    """item_id of every training event: what is asked about first. None before the first events."""
    if not ctx.lake.exists(tables.INTERACTIONS):
        return None
    return training_events(ctx.lake.read(tables.INTERACTIONS), ctx.settings.split).select("item_id")


STAGE = Stage(
    "reason_items",
    (tables.ITEMS, tables.INTERACTIONS, tables.ANSWERS, tables.EMBEDDINGS),
    (tables.ANSWERS, tables.EMBEDDINGS, tables.ITEM_FEATURES),
    run,
)
