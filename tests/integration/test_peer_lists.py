"""Peers that are fitted in one task of Spark: from events to lists and back."""

from __future__ import annotations

import datetime
from typing import TYPE_CHECKING

import numpy as np
import pytest

from isrf_pipeline.config.settings import EvaluationSettings, SasRecSettings
from isrf_pipeline.evaluation.peers import PEERS, latest_of_pairs

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

START = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
SETTINGS = EvaluationSettings(
    sasrec=SasRecSettings(
        width=16, layers=1, heads=1, epochs=10, batch=32, negatives=8, dropout=0.0, learning_rate=2e-2
    )
)
ITEMS = [f"item {number}" for number in range(10)]


def events(spark: SparkSession, histories: dict[str, list[int]]) -> DataFrame:
    rows = [
        (user, ITEMS[item], START + datetime.timedelta(minutes=minute))
        for user, items in histories.items()
        for minute, item in enumerate(items)
    ]
    # The order of rows must not matter.
    shuffled = [rows[place] for place in np.random.default_rng(0).permutation(len(rows))]
    return spark.createDataFrame(shuffled, "user_id string, item_id string, ts timestamp")


@pytest.fixture(scope="module")
def training(spark: SparkSession) -> DataFrame:
    """Every item is followed by the next one."""
    starts = np.random.default_rng(3).integers(0, 10, 150)
    cycles = {f"u{k}": [int(start + step) % 10 for step in range(5)] for k, start in enumerate(starts)}
    return latest_of_pairs(events(spark, cycles)).persist()


@pytest.mark.parametrize("name", ["bm25", "implicit_als", "ease", "sasrec"])
def test_lists_are_of_known_events_and_without_known_items(
    spark: SparkSession, training: DataFrame, name: str
) -> None:
    # "new" has no training event, and one item that nobody was seen with; "silent" has none at all.
    later = events(spark, {"new": [6, 7]}).union(
        spark.sql("SELECT 'new', 'unseen', TIMESTAMP '2026-01-01 00:00:30'")
    )
    known = training.unionByName(later)
    clients = spark.createDataFrame([("u0",), ("new",), ("silent",)], "user_id string")
    peer = PEERS[name](training, known, clients, 3, SETTINGS)
    rows = peer.lists.collect()
    assert {row["user_id"] for row in rows} == {"u0", "new"}
    have = {(row["user_id"], row["item_id"]) for row in known.collect()}
    assert have.isdisjoint({(row["user_id"], row["item_id"]) for row in rows})
    for user in ("u0", "new"):
        assert sorted(row["rank"] for row in rows if row["user_id"] == user) == [1, 2, 3]
    assert peer.wall_seconds["total"] > peer.wall_seconds["fit"] + peer.wall_seconds["recommend"]
    if name == "sasrec":
        # What comes after the newest known event, by time and not by the order of rows.
        assert [row["item_id"] for row in rows if row["user_id"] == "new" and row["rank"] == 1] == ["item 8"]


def test_lists_are_the_same_however_the_events_are_spread(training: DataFrame) -> None:
    clients = training.select("user_id").distinct()
    first, again = (
        PEERS["sasrec"](pairs, pairs, clients, 3, SETTINGS).lists.orderBy("user_id", "rank").collect()
        for pairs in (training, training.repartition(5))
    )
    assert first == again


def test_a_peer_lists_nothing_where_there_is_nothing(training: DataFrame) -> None:
    nothing = training.limit(0)
    peer = PEERS["ease"](nothing, nothing, training.select("user_id").distinct(), 3, SETTINGS)
    assert peer.lists.count() == 0
