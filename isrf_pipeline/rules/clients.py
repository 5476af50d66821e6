"""What the rules know of each client: own exclusions, what was bought when, the band of prices."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from isrf_pipeline.config.rules_settings import PriceBandSettings, RulesSettings
from isrf_pipeline.lake import tables
from isrf_pipeline.rules.exclusion_file import read_client_exclusions
from isrf_pipeline.rules.matching import replenishable_items
from isrf_pipeline.stages.context import StageContext

if TYPE_CHECKING:
    from pyspark.sql import DataFrame


@dataclass(frozen=True)
class ClientRules:
    """Frames of what single clients' lists must heed; None where no rule asks.

    Attributes
    ----------
    barred
        user_id, item_id: what a client must not be offered.
    again
        user_id, item_id: what a client has bought and may be offered again.
    bands
        user_id, price_low, price_high; see :func:`price_bands`.
    """

    barred: DataFrame | None = None
    again: DataFrame | None = None
    bands: DataFrame | None = None


def client_rules(ctx: StageContext, events: DataFrame, again: DataFrame | None = None) -> ClientRules:
    """Gather what the rules need to know of the clients.

    Parameters
    ----------
    ctx
        Settings and tables.
    events
        Events that lists are computed from.
    again
        See :func:`already_bought`.

    Raises
    ------
    InputRefusedError
        If the file of clients' exclusions cannot be used.
    """
    rules = ctx.settings.rules
    given = rules.exclude.clients
    return ClientRules(
        None if given is None else read_client_exclusions(ctx.spark, given),
        again,
        price_bands(events, ctx.read(tables.ITEMS), rules.price_band) if rules.price_band.active else None,
    )


def already_bought(
    interactions: DataFrame,
    items: DataFrame,
    event_types: Sequence[str],
    rules: RulesSettings,
    night: datetime.date,
) -> tuple[DataFrame, DataFrame | None]:
    """What clients have already, and what of it they may be offered again.

    Parameters
    ----------
    interactions
        silver.interactions.
    items
        silver.items.
    event_types
        Types of events whose items are not recommended again.
    rules
        What is replenishable, and after how many days.
    night
        Day that lists are for.

    Returns
    -------
    tuple
        user_id, item_id that must not be listed, and user_id, item_id that may be listed again; None where nothing is
        replenishable.
    """
    from pyspark.sql import functions as F

    bought = interactions.where(F.col("event_type").isin(list(event_types)))
    if not rules.replenishable.active:
        return bought.select("user_id", "item_id"), None
    renewed = items.where(replenishable_items(rules)).select("item_id", F.lit(True).alias("replenishable"))
    pairs = (
        bought.groupBy("user_id", "item_id")
        .agg(F.to_date(F.max("ts")).alias("last"))
        .join(F.broadcast(renewed), "item_id", "left")
        .withColumn(
            "again",
            F.coalesce("replenishable", F.lit(False))
            & (F.datediff(F.lit(night), "last") >= rules.replenishable.after_days),
        )
    )
    return (
        pairs.where(~F.col("again")).select("user_id", "item_id"),
        pairs.where("again").select("user_id", "item_id"),
    )


def price_bands(events: DataFrame, items: DataFrame, settings: PriceBandSettings) -> DataFrame:
    """The band of prices in which each client has bought.

    Prices spread over decades, so quantiles are taken of their logarithms, interpolated between neighbours. An event
    counts with today's price of its item.

    Parameters
    ----------
    events
        Events that lists are computed from.
    items
        silver.items.
    settings
        Which events count, how many a client needs, where the band begins and ends.

    Returns
    -------
    DataFrame
        user_id, price_low, price_high; only clients with enough events of items with a price.
    """
    from pyspark.sql import functions as F

    priced = items.where("price > 0").select("item_id", F.ln("price").alias("log_price"))
    ends = F.percentile("log_price", F.array(F.lit(settings.low_quantile), F.lit(settings.high_quantile)))
    return (
        events.where(F.col("event_type").isin(settings.event_types))
        .join(F.broadcast(priced), "item_id")
        .groupBy("user_id")
        .agg(F.count("*").alias("prices"), ends.alias("ends"))
        .where(F.col("prices") >= settings.min_events)
        .select(
            "user_id",
            (F.exp(F.col("ends")[0]) / settings.margin).alias("price_low"),
            (F.exp(F.col("ends")[1]) * settings.margin).alias("price_high"),
        )
    )


def with_client_rules(clients: DataFrame, rules: ClientRules, codes: DataFrame) -> DataFrame:
    """Add what the rules know of each client.

    Parameters
    ----------
    clients
        user_id and whatever else.
    rules
        What is known.
    codes
        item_id, code.

    Returns
    -------
    DataFrame
        ``clients`` and barred, again (array<int>), price_low, price_high (double, null without a band).
    """
    from pyspark.sql import functions as F

    for name, pairs in (("barred", rules.barred), ("again", rules.again)):
        nothing = F.array().cast("array<int>")
        if pairs is None:
            clients = clients.withColumn(name, nothing)
            continue
        coded = (
            pairs.join(F.broadcast(codes), "item_id")
            .groupBy("user_id")
            .agg(F.array_sort(F.collect_set("code")).alias(name))
        )
        clients = clients.join(coded, "user_id", "left").withColumn(name, F.coalesce(name, nothing))
    if rules.bands is None:
        unknown = F.lit(None).cast("double")
        return clients.withColumns({"price_low": unknown, "price_high": unknown})
    return clients.join(rules.bands, "user_id", "left")
