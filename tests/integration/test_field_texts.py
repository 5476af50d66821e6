"""Texts of an item's fields, by hand."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from pyspark.sql import functions as F

from isrf_pipeline.config.settings import EmbeddingSettings
from isrf_pipeline.embedding import fields
from isrf_pipeline.embedding.fields import embed_fields, field_texts

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

ITEMS = (
    "item_id string, title string, brand string, categories array<string>, description string, "
    "attributes map<string,string>"
)
WORDS = "item_id string, feature string, who_for string, tags array<string>"


def texts_of(spark: SparkSession, *items: tuple[object, ...]) -> dict[str, set[tuple[str, str]]]:
    rows = field_texts(
        spark.createDataFrame(list(items), ITEMS), spark.createDataFrame([], WORDS), ["keyphrases"]
    ).collect()
    found: dict[str, set[tuple[str, str]]] = {}
    for row in rows:
        found.setdefault(row["item_id"], set()).add((row["field"], row["text"]))
    return found


def test_fields_and_the_whole_by_hand(spark: SparkSession) -> None:
    phrases = {"keyphrases": "red scarf", "material": "silk"}
    found = texts_of(
        spark,
        ("full", "Scarf", "Maison", ["Women", "Scarves"], None, phrases),
        ("bare", "Scarf", None, [], None, {}),
        ("untitled", None, None, [], None, phrases),
        ("nothing", " ", None, None, None, {}),
    )
    assert found["full"] == {
        ("title", "Scarf"),
        ("attributes", "Maison"),
        ("attributes", "Women Scarves"),
        ("attributes", "silk"),
        ("whole", "Scarf | Maison | Women Scarves | silk"),
    }
    assert found["bare"] == {("title", "Scarf")}
    # What is left out beside a title is all that is known of an article without one.
    assert ("attributes", "red scarf") in found["untitled"]
    assert {text for field, text in found["untitled"] if field == "title"} <= {
        "red scarf | silk",
        "silk | red scarf",
    }
    assert found["nothing"] == {("title", "article")}


def test_a_whole_without_weight_is_not_encoded(spark: SparkSession, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: set[str] = set()

    def told(texts: DataFrame, key: str, text: str, *_: object) -> DataFrame:
        asked.update(row[text] for row in texts.select(text).collect())
        return texts.select(key, F.array(F.lit(0.6), F.lit(0.8)).cast("array<float>").alias("embedding"))

    monkeypatch.setattr(fields, "embed_texts", told)
    texts = field_texts(
        spark.createDataFrame([("a", "Scarf", "Maison", [], None, {})], ITEMS),
        spark.createDataFrame([], WORDS),
    )
    (with_,) = embed_fields(texts, EmbeddingSettings()).collect()
    assert asked == {"Scarf", "Maison", "Scarf | Maison"} and with_["whole_embedding"] is not None
    asked.clear()
    (without,) = embed_fields(texts, EmbeddingSettings(whole_weight=0)).collect()
    assert asked == {"Scarf", "Maison"} and without["whole_embedding"] is None
    assert without["embedding"] == with_["embedding"]
