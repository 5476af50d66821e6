"""Implicit interest of clients without any event: what clients who share their attributes care about."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

#: Added to the number of clients with a value, so that a rare one says little.
_DAMPING = 20.0


def attribute_interest(
    clients: DataFrame, histories: DataFrame, attributes: Sequence[str], candidates: int
) -> DataFrame:
    """Items of the clients who have an attribute's value in common with a client, for clients without a history.

    For each value, an item weighs its number of clients over the number of all clients with the value and 20 more; the
    weights of a client's values add up.

    Parameters
    ----------
    clients
        user_id, attributes (map<string,string>) of all clients.
    histories
        user_id, codes: training histories.
    attributes
        Names of attributes that count; no other is looked at.
    candidates
        Strongest items kept for a value and for a client.

    Returns
    -------
    DataFrame
        user_id, group_codes, group_values (largest first, largest 1; equal ones by code), of the clients without a
        history who share a value with somebody who has one.
    """
    from pyspark.sql import Window
    from pyspark.sql import functions as F

    shown = clients.select(
        "user_id",
        F.explode(F.map_filter("attributes", lambda name, _: name.isin([*attributes]))).alias(
            "name", "value"
        ),
    ).where(F.col("value").isNotNull())
    known = shown.join(histories.select("user_id", "codes"), "user_id")
    sizes = known.groupBy("name", "value").agg(F.count("*").alias("clients"))
    strongest = Window.partitionBy("name", "value").orderBy(F.desc("having"), "code")
    by_value = (
        known.select("name", "value", F.explode("codes").alias("code"))
        .groupBy("name", "value", "code")
        .agg(F.count("*").alias("having"))
        .withColumn("place", F.row_number().over(strongest))
        .where(F.col("place") <= candidates)
        .join(F.broadcast(sizes), ["name", "value"])
        .select("name", "value", "code", (F.col("having") / (F.col("clients") + _DAMPING)).alias("share"))
    )
    cold = shown.join(histories.select("user_id"), "user_id", "left_anti")
    # Decimals add up to the same number in any order.
    summed = (
        cold.join(by_value, ["name", "value"])
        .groupBy("user_id", "code")
        .agg(F.sum(F.col("share").cast("decimal(20,12)")).cast("double").alias("strength"))
    )
    ranked = summed.groupBy("user_id").agg(
        F.slice(
            F.sort_array(F.collect_list(F.struct((-F.col("strength")).alias("weakness"), "code"))),
            1,
            candidates,
        ).alias("listed")
    )
    largest = -F.col("listed")[0]["weakness"]
    return ranked.select(
        "user_id",
        F.col("listed.code").alias("group_codes"),
        F.transform("listed.weakness", lambda weakness: (-weakness / largest).cast("float")).alias(
            "group_values"
        ),
    )
