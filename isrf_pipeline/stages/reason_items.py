"""Stage reason_items: what each item of the catalogue means to clients, in words, tags and vectors."""

from __future__ import annotations

from typing import TYPE_CHECKING

from isrf_pipeline.embedding.encoder import embed_texts
from isrf_pipeline.embedding.vectors import unit_sum
from isrf_pipeline.lake import tables
from isrf_pipeline.reasoning.engine import engine_of_this_process
from isrf_pipeline.reasoning.items import (
    attribute_text,
    feature_text,
    features_without_model,
    item_subjects,
    semantic_features,
)
from isrf_pipeline.reasoning.waves import EngineFactory, reason_over
from isrf_pipeline.stages.context import Stage, StageContext

if TYPE_CHECKING:
    from pyspark.sql import DataFrame


def run(ctx: StageContext, engine: EngineFactory = engine_of_this_process) -> None:
    """Ask the model for what is missing, embed, and write one row for every item.

    The worker that holds the engine is left idle: reason_users finds it if it comes within a minute, else Spark
    ends it.
    """
    items = ctx.read(tables.ITEMS)
    features = _features(ctx, items, engine).persist()
    try:
        ctx.write(tables.ITEM_FEATURES, _embedded(ctx, items, features))
    finally:
        features.unpersist()


def _features(ctx: StageContext, items: DataFrame, engine: EngineFactory) -> DataFrame:
    settings = ctx.settings.reasoning
    if settings.backend == "none":
        return features_without_model(items, "reasoning is off (reasoning.backend is none)")
    if not settings.items.enabled:
        return features_without_model(items, "reasoning over items is off")
    traced = reason_over(ctx, "item", item_subjects(items), settings.items.max_items, engine)
    return semantic_features(items, traced)


def _embedded(ctx: StageContext, items: DataFrame, features: DataFrame) -> DataFrame:
    """Add attribute_embedding and embedding."""
    from pyspark.sql import functions as F

    settings = ctx.settings.embedding
    texts = items.select("item_id", attribute_text().alias("text"))
    attributes = embed_texts(texts, "item_id", "text", settings).withColumnRenamed(
        "embedding", "attribute_embedding"
    )
    joined = features.join(attributes, "item_id")
    if ctx.settings.reasoning.backend == "none":
        return joined.withColumn("embedding", F.col("attribute_embedding"))
    worded = embed_texts(
        features.select("item_id", feature_text().alias("text")), "item_id", "text", settings
    ).withColumnRenamed("embedding", "feature_embedding")
    both = unit_sum(F.col("attribute_embedding"), F.col("feature_embedding"), settings.feature_weight)
    return joined.join(worded, "item_id").withColumn(
        "embedding", F.when(F.col("feature_embedding").isNull(), F.col("attribute_embedding")).otherwise(both)
    )


STAGE = Stage("reason_items", (tables.ITEMS, tables.ANSWERS), (tables.ANSWERS, tables.ITEM_FEATURES), run)
