"""Who may be in a campaign's audience, and which rule left each of the others out."""

from __future__ import annotations

import datetime
import functools
from collections.abc import Sequence
from typing import TYPE_CHECKING

from isrf_pipeline.campaigns.targets import Campaign

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame, SparkSession

#: Rule of clients whom a campaign for a segment does not mean; they are not counted as left out.
OUTSIDE = "outside"
#: Rules in the order in which they are asked: a client is counted with the first that leaves him out.
NO_CONSENT = "no_consent"
EARLIER_CAMPAIGN = "earlier_campaign"
BUYER = "buyer"
LISTED = "listed"
SEGMENT = "segment"
NO_HISTORY = "no_history"


def with_rules(
    clients: DataFrame,
    campaigns: Sequence[Campaign],
    consent: DataFrame,
    members: DataFrame,
    bought: DataFrame,
    earlier: DataFrame,
    night: datetime.date,
) -> DataFrame:
    """Add what each client is to each campaign.

    Parameters
    ----------
    clients
        user_id, codes (history) and whatever else.
    campaigns
        Those that run.
    consent
        user_id, consent (boolean).
    members
        user_id, segment_id, affinity of the night's segments.
    bought
        user_id, item_id.
    earlier
        campaign_id, user_id, last_night of earlier audiences; see
        :func:`isrf_pipeline.campaigns.overlaps.earlier_audiences`.
    night
        The night.

    Returns
    -------
    DataFrame
        ``clients`` with segment_id, affinity (both null for who has no segment) and rules (array<string>): for each
        campaign the rule that leaves the client out, null where none does.
    """
    from pyspark.sql import functions as F

    spark = clients.sparkSession
    known = clients.join(consent.select("user_id", "consent"), "user_id", "left").join(
        members.select("user_id", "segment_id", "affinity"), "user_id", "left"
    )
    marks: dict[str, DataFrame] = {}
    if any(campaign.brief.exclude.earlier_campaigns is not None for campaign in campaigns):
        marks["earlier"] = earlier.groupBy("user_id").agg(
            F.collect_list(F.struct("campaign_id", "last_night")).alias("earlier")
        )
    if any(campaign.brief.exclude.buyers for campaign in campaigns):
        marks["bought"] = _buyers(bought, campaigns)
    if any(campaign.brief.exclude.clients_file is not None for campaign in campaigns):
        marks["listed"] = _listed(spark, campaigns)
    for mark in marks.values():
        known = known.join(mark, "user_id", "left")
    rules = F.array(*[_rule(campaign, place, night) for place, campaign in enumerate(campaigns)])
    return known.withColumn("rules", rules).drop("consent", *marks)


def rule_counts(judged: DataFrame) -> dict[tuple[int, str], int]:
    """Clients whom each rule left out, by the campaign's position and the rule."""
    from pyspark.sql import functions as F

    rows = (
        judged.select(F.posexplode("rules").alias("place", "rule"))
        .where(F.col("rule").isNotNull() & (F.col("rule") != OUTSIDE))
        .groupBy("place", "rule")
        .count()
        .collect()
    )
    return {(row["place"], row["rule"]): row["count"] for row in rows}


def _rule(campaign: Campaign, place: int, night: datetime.date) -> Column:
    """First rule that leaves a client out of one campaign, or null."""
    from pyspark.sql import functions as F

    brief = campaign.brief
    rules: list[tuple[Column, str]] = []
    if campaign.segment_id is not None:
        rules.append((~F.col("segment_id").eqNullSafe(campaign.segment_id), OUTSIDE))
    if brief.require_consent:
        rules.append((~F.coalesce("consent", F.lit(False)), NO_CONSENT))
    if brief.exclude.earlier_campaigns is not None:
        rules.append((F.exists("earlier", functools.partial(_counts, campaign, night)), EARLIER_CAMPAIGN))
    if brief.exclude.buyers:
        rules.append((F.array_contains("bought", place), BUYER))
    if brief.exclude.clients_file is not None:
        rules.append((F.array_contains("listed", place), LISTED))
    if campaign.left_out_segments:
        rules.append((F.col("segment_id").isin(*campaign.left_out_segments), SEGMENT))
    if campaign.segment_id is None:
        rules.append((F.size("codes") == 0, NO_HISTORY))
    # What is unknown (null) leaves nobody out.
    asked = [F.when(condition, F.lit(rule)) for condition, rule in rules]
    return F.coalesce(*asked, F.lit(None).cast("string"))


def _counts(campaign: Campaign, night: datetime.date, earlier: Column) -> Column:
    """Whether one earlier audience is among those that the brief leaves out."""
    from pyspark.sql import functions as F

    asked = campaign.brief.exclude.earlier_campaigns
    assert asked is not None
    meant = (
        earlier["campaign_id"].isin(asked.ids)
        if asked.ids
        else earlier["campaign_id"] != F.lit(campaign.brief.id)
    )
    if asked.within_days is None:
        return meant
    return meant & (earlier["last_night"] >= F.lit(night - datetime.timedelta(days=asked.within_days)))


def _buyers(bought: DataFrame, campaigns: Sequence[Campaign]) -> DataFrame:
    """user_id, bought (array<int>): campaigns of whose articles a client has any."""
    from pyspark.sql import functions as F

    wanted = [
        (item, place)
        for place, campaign in enumerate(campaigns)
        if campaign.brief.exclude.buyers
        for item in campaign.items
    ]
    items = bought.sparkSession.createDataFrame(wanted, "item_id string, place int")
    return (
        bought.join(F.broadcast(items), "item_id")
        .groupBy("user_id")
        .agg(F.collect_set("place").alias("bought"))
    )


def _listed(spark: SparkSession, campaigns: Sequence[Campaign]) -> DataFrame:
    """user_id, listed (array<int>): campaigns whose file names a client."""
    from pyspark.sql import functions as F

    lists = [
        spark.read.text(campaign.brief.exclude.clients_file).select(
            F.trim(F.translate("value", "\r\ufeff", "")).alias("user_id"), F.lit(place).alias("place")
        )
        for place, campaign in enumerate(campaigns)
        if campaign.brief.exclude.clients_file is not None
    ]
    together = functools.reduce(lambda one, other: one.unionByName(other), lists)
    return together.groupBy("user_id").agg(F.collect_set("place").alias("listed"))
