"""The rows of the BI folder: every recommendation with what a dashboard groups by."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pyspark.sql import DataFrame


def bi_rows(recommendations: DataFrame, items: DataFrame, segments: DataFrame) -> DataFrame:
    """Join one night's recommendations with their items and segments.

    Parameters
    ----------
    recommendations
        One night's gold.recommendations.
    items
        silver.items.
    segments
        The same night's gold.segments.

    Returns
    -------
    DataFrame
        run_date, user_id, rank, item_id, title, brand, categories, price, score, explicit_share, implicit_share,
        reason, because_items, segment_id, segment_name; one row a recommendation, also where its item or segment
        is not known.
    """
    from pyspark.sql import functions as F

    return (
        recommendations.join(
            items.select("item_id", "title", "brand", "categories", "price"), "item_id", "left"
        )
        .join(segments.select("segment_id", F.col("name").alias("segment_name")), "segment_id", "left")
        .select(
            "run_date",
            "user_id",
            "rank",
            "item_id",
            "title",
            "brand",
            "categories",
            "price",
            "score",
            "explicit_share",
            "implicit_share",
            "reason",
            "because_items",
            "segment_id",
            "segment_name",
        )
    )
