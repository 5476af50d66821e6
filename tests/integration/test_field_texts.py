"""Texts of an item's fields, by hand."""

from __future__ import annotations

from typing import TYPE_CHECKING

from isrf_pipeline.embedding.fields import field_texts

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

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
