"""The sentence that goes with a recommendation, built from what the score rests on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from isrf_pipeline.rules.names import NEW_ARRIVALS

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

#: Share of the score from which the group is named as a ground.
_GROUP_IS_A_GROUND = 0.15
#: Longest title in a reason; titles of marketplaces run to paragraphs.
_TITLE_CHARS = 60


def with_reasons(lists: DataFrame, items: DataFrame, features: DataFrame) -> DataFrame:
    """Add the column reason.

    A reason names the history items that the explicit part rests on, the group where it carries a good part of the
    score, and what the article has in common with the first of these items where both share tags. Where no edge of the
    graph leads to the article, explicit interest is the sequence model's, which reads the history as a whole. A new
    arrival that the quota put into the list was chosen by nobody, and nothing else is said of it.

    Parameters
    ----------
    lists
        user_id, rank, item_id, explicit_share, implicit_share, because_items, has_history, rules, ...
    items
        silver.items, for titles.
    features
        reasoning.item_features, for tags.
    """
    from pyspark.sql import functions as F

    known = items.join(features.select("item_id", "tags"), "item_id", "left").select(
        "item_id",
        F.coalesce(
            F.when(
                F.length("title") > _TITLE_CHARS,
                F.concat(F.rtrim(F.substring("title", 1, _TITLE_CHARS)), F.lit("…")),
            ).otherwise(F.col("title")),
            F.col("item_id"),
        ).alias("name"),
        F.coalesce("tags", F.array().cast("array<string>")).alias("tags"),
    )
    own = known.select("item_id", F.col("tags").alias("own_tags"))
    first = known.select(
        F.col("item_id").alias("first_id"),
        F.col("name").alias("first_name"),
        F.col("tags").alias("first_tags"),
    )
    second = known.select(F.col("item_id").alias("second_id"), F.col("name").alias("second_name"))
    joined = (
        lists.withColumns(
            {
                "first_id": F.try_element_at("because_items", F.lit(1)),
                "second_id": F.try_element_at("because_items", F.lit(2)),
            }
        )
        .join(F.broadcast(own), "item_id")
        .join(F.broadcast(first), "first_id", "left")
        .join(F.broadcast(second), "second_id", "left")
    )
    pair = F.when(
        F.col("second_name").isNotNull(), F.concat("first_name", F.lit(" and "), "second_name")
    ).otherwise(F.col("first_name"))
    shared = F.slice(F.array_sort(F.array_intersect("own_tags", "first_tags")), 1, 2)
    common = F.when(
        F.size(shared) > 0, F.concat(F.lit(" (in common: "), F.array_join(shared, ", "), F.lit(")"))
    ).otherwise("")
    group_carries = F.col("implicit_share") >= _GROUP_IS_A_GROUND
    own_ground = F.col("first_name").isNotNull() & (F.col("explicit_share") > 0)
    reason = (
        F.when(
            own_ground & group_carries,
            F.concat(F.lit("Goes with "), pair, common, F.lit("; clients with similar taste choose it too.")),
        )
        .when(own_ground, F.concat(F.lit("Goes with "), pair, common, F.lit(".")))
        .when(
            F.col("has_history") & (F.col("explicit_share") >= 0.5),
            F.lit("In line with what the client chose lately."),
        )
        .when(F.array_contains("rules", NEW_ARRIVALS), F.lit("New in the collection."))
        .when(F.col("has_history"), F.lit("Chosen by clients with similar taste."))
        .otherwise(F.lit("Much loved by our clients right now."))
    )
    return joined.withColumn("reason", reason).drop(
        "first_id", "second_id", "first_name", "second_name", "first_tags", "own_tags", "has_history"
    )
