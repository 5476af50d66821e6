"""What items mean once validation has judged the model's words: the embeddings that profiles and similar items use."""

from __future__ import annotations

from typing import TYPE_CHECKING

from isrf_pipeline.embedding.fields import FIELD_COLUMNS, field_weights
from isrf_pipeline.lake import tables

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

    from isrf_pipeline.config.settings import EmbeddingSettings
    from isrf_pipeline.stages.context import StageContext

#: The model's words on an item, as a field.
WORDS = "feature"


def item_meaning(ctx: StageContext) -> DataFrame:
    """Embedding of every item for this night's profiles and similarities.

    ``build_interaction_graph`` tries the model's words on validation clients. Where they do not help the item-item
    model they are taken out of the embeddings as well: what is not worth its place among the items' fields must not
    enter the clients' profiles unasked.

    Parameters
    ----------
    ctx
        The stage; ``graph.field_weights`` is read where it exists.

    Returns
    -------
    DataFrame
        item_id, embedding (array<float>, unit length).
    """
    features = ctx.read(tables.ITEM_FEATURES)
    if not ctx.lake.exists(tables.FIELD_WEIGHTS):
        return features.select("item_id", "embedding")
    weights = {row["field"]: row["weight"] for row in ctx.read(tables.FIELD_WEIGHTS).collect()}
    return meaning_with(features, weights.get(WORDS, 1.0) > 0, ctx.settings.embedding)


def meaning_with(features: DataFrame, words: bool, settings: EmbeddingSettings) -> DataFrame:
    """Embedding of every item, with the model's words or without.

    Parameters
    ----------
    features
        reasoning.item_features.
    words
        Whether the model's words are part of it.
    settings
        Weights of the fields.

    Returns
    -------
    DataFrame
        item_id, embedding (array<float>, unit length).
    """
    from pyspark.sql import functions as F

    if words:
        return features.select("item_id", "embedding")
    weights = field_weights(settings)
    title, attributes, feature = (F.col(FIELD_COLUMNS[field]) for field in ("title", "attributes", WORDS))
    summed = F.zip_with(
        title, attributes, lambda one, other: weights["title"] * one + weights["attributes"] * other
    )
    # Every item has a title; whoever has no other field has its embedding already.
    without = F.when(attributes.isNull(), title).otherwise(_unit(summed))
    return features.select(
        "item_id", F.when(feature.isNull(), F.col("embedding")).otherwise(without).alias("embedding")
    )


def _unit(vector: Column) -> Column:
    from pyspark.sql import functions as F

    squares = F.aggregate(vector, F.lit(0.0), lambda total, value: total + value * value)
    return F.transform(vector, lambda value: (value / F.sqrt(squares)).cast("float"))
