"""What each rule did to the delivered lists, counted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from isrf_pipeline.concurrent_actions import run_together
from isrf_pipeline.config.rules_settings import NewArrivalSettings

if TYPE_CHECKING:
    from pyspark.sql import DataFrame


def rule_effects(
    ranked: DataFrame, rules: Sequence[str], quota: NewArrivalSettings
) -> dict[tuple[str, str], float]:
    """Count what the rules did.

    Parameters
    ----------
    ranked
        As :func:`isrf_pipeline.rules.ranking.rank_under_rules` gives it; read twice.
    rules
        Names of the rules in force; each is counted, also where it did nothing.
    quota
        The quota of new arrivals.

    Returns
    -------
    dict
        (metric without the prefix ``rules``, slice) to value:

        - ``withheld``, by rule: pairs of client and item that the model's list holds and the rule kept out;
        - ``places_given``, by rule: places of delivered lists that the rule gave to their items;
        - ``clients_affected``, by rule and for all: clients with any of these;
        - ``plain_places``, for all: places of the lists that the model would have given without any rule;
        - ``short_lists``, for all: clients whose list is shorter than that one;
        - ``new_arrival_places`` and ``quota_unmet``, for all, where there is a quota: places that new arrivals have,
          also by their own score, and clients with fewer of them than asked.
    """
    from pyspark.sql import functions as F

    withheld = F.when(F.col("withheld_by").isNotNull(), F.array("withheld_by"))
    acted = ranked.select(
        "user_id",
        F.col("rank").isNull().alias("out"),
        F.explode(F.coalesce(withheld, "rules")).alias("rule"),
    )
    first = F.lit(True) if quota.of_first is None else F.col("rank") <= quota.of_first
    by_client = ranked.groupBy("user_id").agg(
        F.count("rank").alias("listed"),
        F.count("plain_rank").alias("plain"),
        F.max(F.col("withheld_by").isNotNull() | F.col("rules").isNotNull()).alias("affected"),
        F.count_if(F.col("rank").isNotNull() & F.col("new_arrival")).alias("new"),
        F.count_if(F.col("rank").isNotNull() & F.col("new_arrival") & first).alias("new_among_first"),
    )
    totals = by_client.agg(
        F.coalesce(F.sum("plain"), F.lit(0)).alias("plain_places"),
        F.count_if("affected").alias("clients_affected"),
        F.count_if(F.col("listed") < F.col("plain")).alias("short_lists"),
        F.coalesce(F.sum("new"), F.lit(0)).alias("new_arrival_places"),
        F.count_if(F.col("new_among_first") < quota.at_least).alias("quota_unmet"),
    )
    by_rule = acted.groupBy("rule").agg(
        F.count_if("out").alias("withheld"),
        F.count_if(~F.col("out")).alias("places_given"),
        F.count_distinct("user_id").alias("clients_affected"),
    )
    (total,), rows = run_together(totals.collect, by_rule.collect)
    counted = {row["rule"]: row for row in rows}
    values: dict[tuple[str, str], float] = {}
    for rule in (*rules, *sorted(counted.keys() - set(rules))):
        for measure in ("withheld", "places_given", "clients_affected"):
            values[measure, rule] = counted[rule][measure] if rule in counted else 0
    measures = ["plain_places", "clients_affected", "short_lists"]
    if quota.active:
        measures += ["new_arrival_places", "quota_unmet"]
    values |= {(measure, "all"): total[measure] for measure in measures}
    return values
