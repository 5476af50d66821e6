"""Picks example clients and gathers what their pictures show."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from isrf_pipeline.lake import tables
from isrf_pipeline.report.figures import ClientExample, ClientRecommendation, HistoryItem

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

    from isrf_pipeline.report.gathering import Reader

#: Newest items of a history, and how many are shown at most with older ones that a recommendation rests on.
_LATEST = 6
_SHOWN = 8
_RECOMMENDATIONS = 5
#: Clients with fewer distinct items make poor pictures; they are taken where no others are.
_ENOUGH_ITEMS = 3


def client_examples(read: Reader, count: int) -> tuple[ClientExample, ...]:
    """Gather ``count`` clients with their histories and recommendations.

    Parameters
    ----------
    read
        Gives one night's rows of a table, empty where it does not exist.
    count
        How many clients.
    """
    from pyspark.sql import functions as F

    lists = read(tables.RECOMMENDATIONS).where(F.col("rank") <= _RECOMMENDATIONS)
    events, titles = read(tables.INTERACTIONS), read(tables.ITEMS).select("item_id", "title", "brand")
    chosen = chosen_clients(lists, events, count).collect()
    if not chosen:
        return ()
    ids = [row["user_id"] for row in chosen]
    names = {
        row["segment_id"]: row["name"]
        for row in read(tables.SEGMENTS)
        .where(F.col("segment_id").isin([row["segment_id"] for row in chosen if row["segment_id"]]))
        .collect()
    }
    interests = {
        row["user_id"]: row["interest"]
        for row in read(tables.USER_FEATURES).where(F.col("user_id").isin(ids)).collect()
    }
    own_lists = lists.where(F.col("user_id").isin(ids))
    recommendations = _recommendations(own_lists, titles)
    histories = _histories(events.where(F.col("user_id").isin(ids)), own_lists, titles)
    return tuple(
        ClientExample(
            row["user_id"],
            names.get(row["segment_id"]),
            interests.get(row["user_id"]),
            row["items_known"],
            tuple(histories[row["user_id"]]),
            tuple(recommendations[row["user_id"]]),
        )
        for row in chosen
    )


def chosen_clients(lists: DataFrame, events: DataFrame, count: int) -> DataFrame:
    """Pick clients by the hash of their identifier, one a segment in turn, so that nobody flatters.

    Parameters
    ----------
    lists
        Recommendations: user_id, segment_id.
    events
        Interactions: user_id, item_id.
    count
        How many clients.

    Returns
    -------
    DataFrame
        user_id, segment_id, items_known; the larger segments first, clients with a history of some length before
        others.
    """
    from pyspark.sql import Window
    from pyspark.sql import functions as F

    known = events.groupBy("user_id").agg(F.count_distinct("item_id").alias("items_known"))
    clients = (
        lists.groupBy("user_id")
        .agg(F.max("segment_id").alias("segment_id"))
        .join(known, "user_id", "left")
        .withColumn("items_known", F.coalesce("items_known", F.lit(0)))
        .withColumn("short", F.col("items_known") < _ENOUGH_ITEMS)
        .withColumn("draw", F.sha2("user_id", 256))
    )
    sizes = clients.groupBy(F.col("segment_id").alias("sized")).agg(F.count("*").alias("size"))
    by_segment = Window.partitionBy("segment_id").orderBy("short", "draw", "user_id")
    return (
        clients.withColumn("turn", F.row_number().over(by_segment))
        .where(F.col("turn") <= count)
        .join(sizes, F.equal_null("segment_id", "sized"))
        .orderBy("turn", "short", F.desc("size"), "segment_id", "user_id")
        .limit(count)
        .select("user_id", "segment_id", "items_known")
    )


def _recommendations(lists: DataFrame, titles: DataFrame) -> dict[str, list[ClientRecommendation]]:
    rows = lists.join(titles, "item_id", "left").orderBy("user_id", "rank").collect()
    found: dict[str, list[ClientRecommendation]] = defaultdict(list)
    for row in rows:
        found[row["user_id"]].append(
            ClientRecommendation(
                row["rank"],
                row["item_id"],
                row["title"] or row["item_id"],
                row["brand"],
                row["reason"],
                row["explicit_share"],
                row["implicit_share"],
                tuple(row["because_items"]),
            )
        )
    return found


def _histories(events: DataFrame, lists: DataFrame, titles: DataFrame) -> dict[str, list[HistoryItem]]:
    """Latest items of each client, and older ones that a shown recommendation rests on."""
    from pyspark.sql import Window
    from pyspark.sql import functions as F

    grounds = lists.select("user_id", F.explode("because_items").alias("item_id")).distinct()
    newest_first = Window.partitionBy("user_id").orderBy(F.desc("last"), F.desc("weight"), "item_id")
    rows = (
        events.groupBy("user_id", "item_id")
        .agg(
            F.max("ts").alias("last"),
            F.max("weight").alias("weight"),
            F.max_by("event_type", F.struct("weight", "event_type")).alias("event_type"),
        )
        .join(grounds.withColumn("ground", F.lit(True)), ["user_id", "item_id"], "left")
        .withColumn("place", F.row_number().over(newest_first))
        .where((F.col("place") <= _LATEST) | F.col("ground"))
        .join(titles, "item_id", "left")
        .select("user_id", "item_id", "title", "brand", "event_type", F.to_date("last").alias("day"), "place")
        .orderBy("user_id", "place")
        .collect()
    )
    found: dict[str, list[HistoryItem]] = defaultdict(list)
    for row in rows:
        if len(found[row["user_id"]]) < _SHOWN:
            found[row["user_id"]].append(
                HistoryItem(
                    row["item_id"],
                    row["title"] or row["item_id"],
                    row["brand"],
                    row["event_type"],
                    row["day"],
                )
            )
    return found
