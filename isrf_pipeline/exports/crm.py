"""The rows of the files for CRM: clients with their lists, and campaign audiences; consent decides who is in them."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pyspark.sql import DataFrame


def client_lists(
    recommendations: DataFrame,
    items: DataFrame,
    segments: DataFrame,
    clients: DataFrame,
    count: int,
    require_consent: bool,
) -> DataFrame:
    """One row a client with its best recommendations.

    Parameters
    ----------
    recommendations
        One night's gold.recommendations.
    items
        silver.items, for titles.
    segments
        The same night's gold.segments, for names.
    clients
        silver.clients, for marketing consent.
    count
        Recommendations in a row.
    require_consent
        Whether clients without marketing consent are left out.

    Returns
    -------
    DataFrame
        run_date, user_id, segment_id, segment_name, listed (array of structs rank, item_id, title, reason, score,
        explicit_share, implicit_share, because_items; best first, at most ``count``). An item without a title has
        its identifier as title.
    """
    from pyspark.sql import functions as F

    listed = recommendations.where(F.col("rank") <= count)
    if require_consent:
        listed = listed.join(_consenting(clients), "user_id", "left_semi")
    titles = items.select("item_id", F.coalesce("title", "item_id").alias("title"))
    entry = F.struct(
        "rank", "item_id", "title", "reason", "score", "explicit_share", "implicit_share", "because_items"
    )
    return (
        listed.join(titles, "item_id", "left")
        .groupBy("run_date", "user_id")
        .agg(
            F.max("segment_id").alias("segment_id"),
            F.sort_array(F.collect_list(entry)).alias("listed"),
        )
        .join(segments.select("segment_id", F.col("name").alias("segment_name")), "segment_id", "left")
        .select("run_date", "user_id", "segment_id", "segment_name", "listed")
    )


def audience_rows(audiences: DataFrame, clients: DataFrame, require_consent: bool) -> DataFrame:
    """One row for each client that a campaign may write to.

    Parameters
    ----------
    audiences
        One night's gold.audiences. Clients of its column ``holdout`` are left out, where it has one; so is
        ``reason`` taken over.
    clients
        silver.clients, for marketing consent.
    require_consent
        Whether clients without marketing consent are left out.

    Returns
    -------
    DataFrame
        campaign_id, user_id, rank, score, reason (null where the table has none).
    """
    from pyspark.sql import functions as F

    rows = audiences
    if "holdout" in rows.columns:
        rows = rows.where(~F.coalesce("holdout", F.lit(False)))
    if require_consent:
        rows = rows.join(_consenting(clients), "user_id", "left_semi")
    reason = F.col("reason") if "reason" in rows.columns else F.lit(None).cast("string")
    return rows.select("campaign_id", "user_id", "rank", "score", reason.alias("reason"))


def _consenting(clients: DataFrame) -> DataFrame:
    return clients.where("consent").select("user_id")
