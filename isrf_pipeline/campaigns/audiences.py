"""From fits to an audience: the best clients, why each of them, and who is held out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from isrf_pipeline.campaigns.targets import Campaign
from isrf_pipeline.merchandising.reasons import with_reasons

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

#: Hexadecimal digits of the hash that the holdout is drawn by: as many as a double holds without rounding.
_DIGITS = 13
_TITLE_CHARS = 60


def best_clients(fits: DataFrame, campaigns: Sequence[Campaign]) -> DataFrame:
    """Cut each campaign's clients to the best fits, and draw the holdout.

    Clients are ordered by fit, equal fits by a hash of client and campaign: whoever narrowly misses one audience is not
    the one who misses all. The size counts the holdout: it is a part of the audience that is not contacted, so another
    holdout share changes nothing about who is in it.

    Parameters
    ----------
    fits
        user_id, target (position of the campaign), fit (null: nothing to judge by) and whatever else.
    campaigns
        The campaigns.

    Returns
    -------
    DataFrame
        ``fits`` of the audiences, with campaign_id, rank and holdout.
    """
    from pyspark.sql import Window
    from pyspark.sql import functions as F

    rows = [
        (
            place,
            campaign.brief.id,
            campaign.brief.size,
            campaign.brief.min_score,
            campaign.brief.holdout_share,
        )
        for place, campaign in enumerate(campaigns)
    ]
    asked = fits.sparkSession.createDataFrame(
        rows, "target int, campaign_id string, size int, min_score double, holdout_share double"
    )
    order = Window.partitionBy("campaign_id").orderBy(
        F.col("fit").desc(), F.xxhash64("user_id", "campaign_id"), "user_id"
    )
    return (
        fits.join(F.broadcast(asked), "target")
        .where(F.col("fit") >= F.col("min_score"))
        .withColumn("rank", F.row_number().over(order))
        .where(F.col("rank") <= F.col("size"))
        .withColumn("holdout", holdout_draw(F.col("campaign_id"), F.col("user_id")) < F.col("holdout_share"))
        .drop("size", "min_score", "holdout_share")
    )


def holdout_draw(campaign_id: Column, user_id: Column) -> Column:
    """A number from 0 to below 1 for a client in a campaign: below the holdout share, the client is held out.

    The first 13 hexadecimal digits of the SHA-256 of ``holdout:<campaign_id>:<user_id>``, read as a fraction. It
    depends on nothing else: a client is held out on every night or on none, whoever else is in the audience, and
    independently from campaign to campaign. So the share of the holdout is the one asked for on average, not to the
    client.
    """
    from pyspark.sql import functions as F

    digest = F.sha2(F.concat_ws(":", F.lit("holdout"), campaign_id, user_id), 256)
    return F.conv(F.substring(digest, 1, _DIGITS), 16, 10).cast("double") / F.lit(float(16**_DIGITS))


def with_item_reasons(chosen: DataFrame, items: DataFrame, features: DataFrame) -> DataFrame:
    """Add why each client of an audience for articles is in it.

    The sentence names the article of the target that fits best, how much of the catalogue it is ahead of, and what of
    the client's history, or of that of similar clients, this rests on; see
    :func:`isrf_pipeline.merchandising.reasons.with_reasons`. Where the article is no better than one drawn at random,
    it says that instead.

    Parameters
    ----------
    chosen
        See :func:`best_clients`, of fits by :func:`isrf_pipeline.interests.fits.client_fits`.
    items, features
        silver.items and reasoning.item_features.

    Returns
    -------
    DataFrame
        ``chosen`` with reason.
    """
    from pyspark.sql import functions as F

    title = F.when(
        F.length("title") > _TITLE_CHARS,
        F.concat(F.rtrim(F.substring("title", 1, _TITLE_CHARS)), F.lit("…")),
    ).otherwise(F.coalesce("title", "item_id"))
    titles = items.select("item_id", title.alias("best_title"))
    share = F.concat(F.floor(F.col("item_fit") * 100).cast("string"), F.lit(" % of the articles"))
    ahead = F.concat(
        F.lit("Fits best: "),
        F.col("best_title"),
        F.lit(", ahead of "),
        F.when(F.col("item_fit") == 1, "all other articles").otherwise(share),
        F.lit(". "),
    )
    spoken_for = F.col("explicit_share") + F.col("implicit_share") > 0
    rest = (
        F.when(~spoken_for, "Nothing is known that speaks for it.")
        .when(F.col("item_fit") <= 0.5, "An article drawn at random would fit as well.")
        .otherwise(F.col("reason"))
    )
    # No business rule places a client in an audience.
    placed = chosen.withColumn("rules", F.lit(None).cast("array<string>"))
    return (
        with_reasons(placed, items, features)
        .drop("rules")
        .join(F.broadcast(titles), "item_id")
        .withColumn("reason", F.concat(ahead, rest))
        .drop("best_title")
    )


def with_segment_reasons(chosen: DataFrame, segments: DataFrame) -> DataFrame:
    """Add why each client of an audience for a segment is in it.

    Parameters
    ----------
    chosen
        campaign_id, segment_id, fit (the affinity) and whatever else.
    segments
        gold.segments of the night.

    Returns
    -------
    DataFrame
        ``chosen`` with reason.
    """
    from pyspark.sql import functions as F

    named = segments.select("segment_id", F.col("name").alias("segment_name"))
    reason = F.concat(
        F.lit("In the segment "),
        F.coalesce("segment_name", "segment_id"),
        F.lit("; "),
        F.floor(F.col("fit") * 100).cast("string"),
        F.lit(" % of the client's most similar clients are in it too."),
    )
    return (
        chosen.join(F.broadcast(named), "segment_id", "left")
        .withColumn("reason", reason)
        .drop("segment_name")
    )
