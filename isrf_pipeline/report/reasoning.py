"""Figures of the language model's part."""

from __future__ import annotations

from typing import TYPE_CHECKING

from isrf_pipeline.config.settings import ReasoningSettings
from isrf_pipeline.lake import tables
from isrf_pipeline.report.figures import (
    AnswerFigure,
    DeadLetterFigure,
    FeatureExample,
    NamedCount,
    ReasoningFigures,
    WordsFigure,
)

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

    from isrf_pipeline.report.gathering import Reader

#: Examples of item features, each from another category while there are enough.
_EXAMPLES = 4
#: Reasons are free text: the most frequent tell the story.
_REASONS_SHOWN = 8
_BUNDLED = "bundled"


def reasoning_figures(settings: ReasoningSettings, read: Reader) -> ReasoningFigures:
    """Count where texts come from, what failed, and pick examples.

    Parameters
    ----------
    settings
        Which model was asked.
    read
        Gives a table, empty where it does not exist.
    """
    from pyspark.sql import functions as F

    features, answers = read(tables.ITEM_FEATURES), read(tables.ANSWERS)
    without = features.where(F.col("origin") != "llm").withColumn(
        "reason", F.coalesce("reason", F.lit("not stated"))
    )
    kinds = (
        answers.groupBy("kind")
        .agg(F.count_if(F.col("status") == "ok"), F.count_if(F.col("status") == "dead"))
        .orderBy("kind")
    )
    dead = (
        answers.where(F.col("status") == "dead")
        .groupBy("kind", F.coalesce("reason", F.lit("not stated")).alias("reason"))
        .agg(F.count("*").alias("rows"))
        .orderBy(F.desc("rows"), "kind", "reason")
        .limit(_REASONS_SHOWN)
    )
    return ReasoningFigures(
        backend=settings.backend,
        model=settings.engine.model,
        small_model=settings.backend == "engine" and settings.engine.model == _BUNDLED,
        item_origins=_counts(features, "origin"),
        user_origins=_counts(read(tables.USER_FEATURES), "origin"),
        missing_reasons=_counts(without, "reason"),
        answers=tuple(AnswerFigure(*row) for row in kinds.collect()),
        dead_letters=tuple(DeadLetterFigure(*row) for row in dead.collect()),
        examples=feature_examples(features, read(tables.ITEMS)),
        words=_words(read),
    )


def feature_examples(features: DataFrame, items: DataFrame) -> tuple[FeatureExample, ...]:
    """Pick items that the model wrote about, by hash and from different categories, so that nobody flatters."""
    from pyspark.sql import Window
    from pyspark.sql import functions as F

    written = features.where((F.col("origin") == "llm") & F.col("feature").isNotNull()).select(
        "item_id", "feature", "who_for", "who_not_for", "tags"
    )
    by_category = Window.partitionBy("category").orderBy("draw", "item_id")
    chosen = (
        written.join(items.select("item_id", "title", "brand", "categories"), "item_id")
        .withColumns(
            {
                "category": F.coalesce(F.get("categories", F.lit(0)), F.lit("")),
                "draw": F.sha2("item_id", 256),
            }
        )
        .withColumn("turn", F.row_number().over(by_category))
        .where(F.col("turn") <= _EXAMPLES)
        .orderBy("turn", "draw", "item_id")
        .limit(_EXAMPLES)
    )
    return tuple(
        FeatureExample(
            row["item_id"],
            row["title"] or row["item_id"],
            row["brand"],
            row["feature"],
            row["who_for"],
            row["who_not_for"],
            tuple(row["tags"]),
        )
        for row in chosen.collect()
    )


def _words(read: Reader) -> tuple[WordsFigure, ...]:
    """Parts of the model's words, those of items first; a handful."""
    rows = [row for table in (tables.FIELD_WEIGHTS, tables.PROFILE_WEIGHTS) for row in read(table).collect()]
    return tuple(WordsFigure(row["field"], row["weight"], row["gain"], row["error"]) for row in rows)


def _counts(rows: DataFrame, column: str) -> tuple[NamedCount, ...]:
    from pyspark.sql import functions as F

    counted = rows.groupBy(column).agg(F.count("*").alias("rows")).orderBy(F.desc("rows"), column)
    return tuple(NamedCount(row[0], row[1]) for row in counted.limit(_REASONS_SHOWN).collect())
