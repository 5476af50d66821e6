"""Metrics and peers on lists whose figures are worked out by hand."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import pytest

from isrf_pipeline.config.settings import EvaluationSettings, MllibAlsSettings
from isrf_pipeline.evaluation.metrics import accuracy
from isrf_pipeline.evaluation.peers import mllib_als_lists, popularity_lists
from isrf_pipeline.evaluation.slices import client_slices

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession


def known_items(spark: SparkSession) -> DataFrame:
    """Four clients; a is with three of them, b with two, c and d with one each."""
    pairs = [("u1", "a"), ("u1", "b"), ("u2", "a"), ("u3", "a"), ("u3", "b"), ("u4", "c"), ("u4", "d")]
    return spark.createDataFrame(pairs, "user_id string, item_id string")


LISTS = "user_id string, rank int, item_id string"


def judged(spark: SparkSession, rows: list[tuple[str, str, list[str]]]) -> DataFrame:
    return spark.createDataFrame(rows, "user_id string, item_id string, slices array<string>")


def test_metrics_by_hand(spark: SparkSession) -> None:
    lists = spark.createDataFrame(
        [("u1", 1, "x"), ("u1", 2, "y"), ("u2", 6, "y"), ("u2", 1, "z"), ("u9", 1, "y")], LISTS
    )
    # u1 finds y at place 2, u2 at place 6, u3 has no list and counts as a miss; u9 is not asked for.
    clients = judged(spark, [("u1", "y", ["all", "few"]), ("u2", "y", ["all"]), ("u3", "y", ["all"])])
    found = accuracy({"ours": lists}, clients)
    assert found["ours.HR@5", "all"] == pytest.approx(1 / 3)
    assert found["ours.HR@10", "all"] == pytest.approx(2 / 3)
    assert found["ours.NDCG@5", "all"] == pytest.approx(1 / math.log2(3) / 3)
    assert found["ours.NDCG@10", "all"] == pytest.approx((1 / math.log2(3) + 1 / math.log2(7)) / 3)
    assert found["ours.MRR@10", "all"] == pytest.approx((1 / 2 + 1 / 6) / 3)
    assert found["ours.NDCG@10", "few"] == pytest.approx(1 / math.log2(3))


def test_systems_are_compared_client_by_client(spark: SparkSession) -> None:
    # Of 400 clients each finds the item with ours; every second also with theirs: the difference is .5 everywhere.
    names = [f"u{k}" for k in range(400)]
    ours = spark.createDataFrame([(name, 1, "y") for name in names], LISTS)
    theirs = spark.createDataFrame([(name, 1, "y") for name in names[::2]], LISTS)
    clients = judged(spark, [(name, "y", ["all"]) for name in names])
    found = accuracy({"ours": ours, "theirs": theirs}, clients)
    assert found["ours.NDCG@10_over_theirs", "all"] == pytest.approx(0.5)
    # Standard error sqrt(.25 / 400) = .025, so the interval reaches .049 to each side.
    assert found["ours.NDCG@10_over_theirs.low", "all"] == pytest.approx(0.451, abs=0.01)
    assert found["ours.NDCG@10_over_theirs.high", "all"] == pytest.approx(0.549, abs=0.01)
    again = accuracy({"ours": ours.repartition(3), "theirs": theirs}, clients.repartition(3))
    assert again["ours.NDCG@10_over_theirs.low", "all"] == pytest.approx(
        found["ours.NDCG@10_over_theirs.low", "all"], abs=1e-9
    )


def test_metrics_of_nothing_are_absent(spark: SparkSession) -> None:
    assert accuracy({"ours": spark.createDataFrame([], LISTS)}, judged(spark, [])) == {}


def test_slices_by_hand(spark: SparkSession) -> None:
    pairs = "user_id string, item_id string"
    training = spark.createDataFrame([("u1", "a"), ("u1", "b"), *(("u2", item) for item in "abcdefg")], pairs)
    items = spark.createDataFrame(
        [("a", ["x", "y"]), ("b", ["x", "y"]), ("c", ["x", "z"]), ("n", ["x", "w"]), ("e", [])],
        "item_id string, categories array<string>",
    )
    held_out = spark.createDataFrame([("u1", "c"), ("u2", "n"), ("u3", "e")], pairs)
    rows = client_slices(held_out, training, training, items).collect()
    found = {row["user_id"]: set(row["slices"]) for row in rows}
    assert found["u1"] == {"all", "history<=3", "item<=5", "category new"}
    assert found["u2"] == {"all", "history>6", "item unseen", "category new"}
    # Where the category is not known nothing is said about it.
    assert found["u3"] == {"all", "history<=3", "item<=5"}


def test_popularity_leaves_out_what_a_client_has(spark: SparkSession) -> None:
    known = known_items(spark)
    peer = popularity_lists(known, known, known.select("user_id").distinct(), 2, EvaluationSettings())
    lists = {(row["user_id"], row["rank"]): row["item_id"] for row in peer.lists.collect()}
    assert lists["u4", 1] == "a"
    assert lists["u4", 2] == "b"
    assert lists["u2", 1] == "b"
    assert {lists["u1", 1], lists["u1", 2]} == {"c", "d"}
    assert peer.wall_seconds["total"] > 0


def test_als_lists_only_unknown_items_in_order(spark: SparkSession) -> None:
    known = known_items(spark)
    settings = EvaluationSettings(mllib_als=MllibAlsSettings(rank=4, iterations=2))
    peer = mllib_als_lists(known, known, known.select("user_id").distinct(), 3, settings)
    rows = peer.lists.collect()
    pairs = {(row["user_id"], row["item_id"]) for row in rows}
    assert pairs.isdisjoint({(row["user_id"], row["item_id"]) for row in known.collect()})
    for user in ("u1", "u2", "u3", "u4"):
        ranks = sorted(row["rank"] for row in rows if row["user_id"] == user)
        assert ranks == list(range(1, len(ranks) + 1))
    assert peer.wall_seconds["total"] == pytest.approx(
        peer.wall_seconds["fit"] + peer.wall_seconds["recommend"]
    )
