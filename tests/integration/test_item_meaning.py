from __future__ import annotations

import datetime
from typing import TYPE_CHECKING, Any

import pytest

from isrf_pipeline.config import Settings
from isrf_pipeline.graphs.meaning import item_meaning
from isrf_pipeline.lake import Lake, tables
from isrf_pipeline.stages.context import StageContext

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

pytestmark = pytest.mark.spark

#: item, title, attributes, the model's words, and what the sum of all of them was.
ITEMS: list[tuple[str, list[float], list[float] | None, list[float] | None, list[float]]] = [
    ("all", [1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0], [0.0, 0.0, 1.0]),
    ("no attributes", [0.0, 1.0, 0.0], None, [0.0, 0.0, 1.0], [0.0, 0.6, 0.8]),
    ("no words", [1.0, 0.0, 0.0], [0.0, 1.0, 0.0], None, [0.6, 0.8, 0.0]),
]


@pytest.fixture
def ctx(spark: SparkSession, lake: Lake) -> StageContext:
    rows: list[dict[str, Any]] = [
        {
            "item_id": item,
            "tags": [],
            "origin": "llm" if words else "attributes",
            "title_embedding": title,
            "attribute_embedding": attributes,
            "feature_embedding": words,
            "embedding": summed,
        }
        for item, title, attributes, words, summed in ITEMS
    ]
    lake.overwrite(tables.ITEM_FEATURES, spark.createDataFrame(rows, tables.ITEM_FEATURES.ddl()))
    settings = Settings.model_validate(
        {"lake": {"root": lake.root}, "embedding": {"title_weight": 0.75, "feature_weight": 0.5}}
    )
    return StageContext(spark, settings, lake, datetime.date(2026, 1, 1), "run")


def meaning(ctx: StageContext) -> dict[str, list[float]]:
    return {row["item_id"]: pytest.approx(row["embedding"]) for row in item_meaning(ctx).collect()}


def judged(ctx: StageContext, weight: float) -> None:
    rows = [("feature", weight, 0.001, 0.002), ("tags", 0.0, 0.0, 0.001)]
    ctx.lake.overwrite(tables.FIELD_WEIGHTS, ctx.spark.createDataFrame(rows, tables.FIELD_WEIGHTS.ddl()))


def test_words_that_validation_left_out_are_in_no_embedding(ctx: StageContext) -> None:
    judged(ctx, 0.0)
    # (0.75, 1, 0) is 1.25 long.
    assert meaning(ctx) == {
        "all": [0.6, 0.8, 0.0],
        "no attributes": [0.0, 1.0, 0.0],
        "no words": [0.6, 0.8, 0.0],
    }


def test_words_that_help_and_words_that_nobody_judged_stay(ctx: StageContext) -> None:
    as_stored = {item: summed for item, *_, summed in ITEMS}
    assert meaning(ctx) == as_stored
    judged(ctx, 0.5)
    assert meaning(ctx) == as_stored
