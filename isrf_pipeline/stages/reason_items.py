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
    from pyspark.sql import Column, DataFrame


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
    texts = items.select("item_id", attribute_text(settings.leave_out_attributes).alias("text"))
    if ctx.settings.reasoning.backend == "none":
        attributes = embed_texts(texts, "item_id", "text", settings)
        joined = features.join(attributes, "item_id")
        return joined.withColumn("attribute_embedding", F.col("embedding"))

    def of(kind: str) -> Column:
        return F.struct("item_id", F.lit(kind).alias("kind")).alias("key")

    # Both texts in one pass: two would load two encoders side by side.
    worded = features.select(of("feature"), feature_text().alias("text")).where("text IS NOT NULL")
    both = texts.select(of("attributes"), "text").unionByName(worded)
    embedded = embed_texts(both, "key", "text", settings)
    vectors = embedded.groupBy("key.item_id").agg(
        *[
            F.max(F.when(F.col("key.kind") == kind, F.col("embedding"))).alias(f"{kind}_embedding")
            for kind in ("attributes", "feature")
        ]
    )
    attribute, feature = F.col("attributes_embedding"), F.col("feature_embedding")
    joint = F.when(feature.isNull(), attribute).otherwise(
        unit_sum(attribute, feature, settings.feature_weight)
    )
    return features.join(vectors, "item_id").select(
        *features.columns, attribute.alias("attribute_embedding"), joint.alias("embedding")
    )


STAGE = Stage("reason_items", (tables.ITEMS, tables.ANSWERS), (tables.ANSWERS, tables.ITEM_FEATURES), run)
