"""Embeddings of items field by field: the title, the catalogue's attributes, the model's words, and all together.

Fields are embedded apart because each is a ground of its own for two items to be alike: in one text the longest of them
drowns the others. Values of attributes recur from item to item and are encoded once.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from isrf_pipeline.config.settings import EmbeddingSettings
from isrf_pipeline.embedding.encoder import embed_texts
from isrf_pipeline.reasoning.items import description_text, feature_text
from isrf_pipeline.stages.context import StageContext

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import Column, DataFrame

#: Fields in the order in which they are added up, and the columns of reasoning.item_features that hold them.
FIELD_COLUMNS = {
    "title": "title_embedding",
    "attributes": "attribute_embedding",
    "feature": "feature_embedding",
    "whole": "whole_embedding",
}
#: Field of the kernel alone: it repeats the others and would drown them in a sum.
_WHOLE = "whole"
_SCHEMA = ", ".join(
    [
        "item_id string",
        *(f"{column} array<float>" for column in FIELD_COLUMNS.values()),
        "embedding array<float>",
    ]
)


def field_weights(settings: EmbeddingSettings) -> dict[str, float]:
    """Weight of each field in the sum of all fields, which the whole is no part of.

    The catalogue's own fields have the same weights in the kernel of the item-item model.
    """
    return {
        "title": settings.title_weight,
        "attributes": 1.0,
        "feature": settings.feature_weight,
        _WHOLE: settings.whole_weight,
    }


def field_texts(items: DataFrame, features: DataFrame, left_out: Sequence[str] = ()) -> DataFrame:
    """Texts of each item's fields, one row a text; attributes have one for each value, the whole joins all of them.

    Parameters
    ----------
    items
        silver.items.
    features
        item_id, feature, who_for: the model's words, if any.
    left_out
        Names of attributes whose values are not part of it, where an item has a title.

    Returns
    -------
    DataFrame
        item_id, field (title, attributes, feature or whole), text; every item has a title: where the catalogue has
        none its attributes, and "article" where it has nothing; an item without attributes has no whole.
    """
    from pyspark.sql import functions as F

    def entry(field: str, text: Column) -> Column:
        return F.struct(F.lit(field).alias("field"), F.trim(text).alias("text"))

    title = F.concat_ws(" | ", F.trim("title"), description_text())
    values = F.map_entries("attributes")
    if left_out:
        kept = F.filter(values, lambda pair: ~pair["key"].isin(list(left_out)))
        values = F.when(F.length(F.trim("title")) > 0, kept).otherwise(values)
    attributes = F.concat(
        F.array(F.col("brand"), F.array_join(F.array_distinct("categories"), " ")),
        F.transform(values, lambda pair: pair["value"]),
    )
    named = F.filter(F.array_distinct(attributes), lambda value: F.length(F.trim(value)) > 0)
    whole = F.concat_ws(" | ", F.trim("title"), named)
    texts = F.concat(
        F.array(
            entry(
                "title",
                F.when(F.length(title) > 0, title)
                .when(F.size(named) > 0, F.array_join(named, " | "))
                .otherwise("article"),
            )
        ),
        F.transform(named, lambda value: entry("attributes", value)),
        F.array(entry(_WHOLE, F.when(F.size(named) > 0, whole))),
        F.array(entry("feature", F.col("words"))),
    )
    worded = features.select("item_id", feature_text().alias("words"))
    return (
        items.join(worded, "item_id", "left")
        .select("item_id", F.explode(texts).alias("entry"))
        .select("item_id", "entry.field", "entry.text")
        .where(F.length("text") > 0)
    )


def embed_fields(texts: DataFrame, settings: EmbeddingSettings, ctx: StageContext | None = None) -> DataFrame:
    """Embed items' fields and add them up.

    Parameters
    ----------
    texts
        item_id, field, text; see :func:`field_texts`.
    settings
        The encoder and the weight of the model's words.
    ctx
        The stage whose lake keeps the texts' vectors; see :func:`isrf_pipeline.embedding.encoder.embed_texts`.

    Returns
    -------
    DataFrame
        item_id, title_embedding, attribute_embedding, feature_embedding, whole_embedding (unit length, null where the
        item has no such text; the whole also where it has no weight) and embedding (unit length: the weighted sum of
        all but the whole).
    """
    from pyspark.sql import functions as F

    weights = field_weights(settings)
    if weights[_WHOLE] == 0:
        # Half of all words stand in it.
        texts = texts.where(F.col("field") != _WHOLE)
    keyed = texts.select(F.struct("item_id", "field", "text").alias("key"), "text")
    # Sorted by text, so that the sum does not depend on how rows were partitioned.
    parts = F.sort_array(F.collect_list(F.struct("key.field", "key.text", "embedding"))).alias("parts")
    grouped = embed_texts(keyed, "key", "text", settings, ctx).groupBy("key.item_id").agg(parts)

    def add_up(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            if batch.num_rows:
                yield fields_of(batch, weights)

    return grouped.mapInArrow(add_up, _SCHEMA)


def fields_of(batch: pa.RecordBatch, weights: Mapping[str, float]) -> pa.RecordBatch:
    """Unit embeddings of the fields of some items.

    Parameters
    ----------
    batch
        item_id and parts: a list of structs field, text and embedding (of one length in all).
    weights
        Weight of each field in the sum.
    """
    import pyarrow as pa

    parts = batch.column("parts")
    owner = np.repeat(np.arange(len(parts)), np.diff(parts.offsets.to_numpy()))
    rows = parts.flatten()
    vectors = rows.field("embedding").flatten().to_numpy(zero_copy_only=False).reshape(len(rows), -1)
    field = np.array(rows.field("field").to_pylist())
    total = np.zeros((len(parts), vectors.shape[1]))
    columns: dict[str, pa.Array] = {"item_id": batch.column("item_id")}
    for name, column in FIELD_COLUMNS.items():
        summed = np.zeros_like(total)
        np.add.at(summed, owner[field == name], vectors[field == name])
        unit = _unit(summed)
        if name != _WHOLE:
            total += weights[name] * unit
        columns[column] = _lists(unit.astype(np.float32), np.any(unit != 0, axis=1))
    columns["embedding"] = _lists(_unit(total).astype(np.float32), np.ones(len(total), bool))
    return pa.RecordBatch.from_pydict(columns)


def _unit(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12))


def _lists(rows: NDArray[np.float32], present: NDArray[np.bool_]) -> pa.ListArray:
    import pyarrow as pa

    offsets = np.concatenate([[0], np.cumsum(present)]) * rows.shape[1]
    return pa.ListArray.from_arrays(
        pa.array(offsets.astype(np.int32)), pa.array(rows[present].ravel()), mask=pa.array(~present)
    )
