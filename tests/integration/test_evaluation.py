"""Metrics and peers on lists whose figures are worked out by hand."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import pytest

from isrf_pipeline.config.settings import EvaluationSettings
from isrf_pipeline.evaluation.metrics import ranking_metrics
from isrf_pipeline.evaluation.peers import mllib_als_lists, popularity_lists

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession


def known_items(spark: SparkSession) -> DataFrame:
    """Four clients; a is with three of them, b with two, c and d with one each."""
    pairs = [("u1", "a"), ("u1", "b"), ("u2", "a"), ("u3", "a"), ("u3", "b"), ("u4", "c"), ("u4", "d")]
    return spark.createDataFrame(pairs, "user_id string, item_id string")


def test_metrics_by_hand(spark: SparkSession) -> None:
    lists = spark.createDataFrame(
        [("u1", 1, "x"), ("u1", 2, "y"), ("u2", 6, "y"), ("u2", 1, "z"), ("u9", 1, "y")],
        "user_id string, rank int, item_id string",
    )
    # u1 finds y at place 2, u2 at place 6, u3 has no list and counts as a miss; u9 is not asked for.
    held_out = spark.createDataFrame(
        [("u1", "y"), ("u2", "y"), ("u3", "y")], "user_id string, item_id string"
    )
    found = ranking_metrics(lists, held_out)
    assert found["HR@5"] == pytest.approx(1 / 3)
    assert found["HR@10"] == pytest.approx(2 / 3)
    assert found["NDCG@5"] == pytest.approx(1 / math.log2(3) / 3)
    assert found["NDCG@10"] == pytest.approx((1 / math.log2(3) + 1 / math.log2(7)) / 3)
    assert found["MRR@10"] == pytest.approx((1 / 2 + 1 / 6) / 3)


def test_metrics_of_nothing_are_zero(spark: SparkSession) -> None:
    empty = spark.createDataFrame([], "user_id string, rank int, item_id string")
    assert set(ranking_metrics(empty, empty.select("user_id", "item_id")).values()) == {0.0}


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
    peer = mllib_als_lists(
        known, known, known.select("user_id").distinct(), 3, EvaluationSettings(als_rank=4, als_iterations=2)
    )
    rows = peer.lists.collect()
    pairs = {(row["user_id"], row["item_id"]) for row in rows}
    assert pairs.isdisjoint({(row["user_id"], row["item_id"]) for row in known.collect()})
    for user in ("u1", "u2", "u3", "u4"):
        ranks = sorted(row["rank"] for row in rows if row["user_id"] == user)
        assert ranks == list(range(1, len(ranks) + 1))
    assert peer.wall_seconds["total"] == pytest.approx(
        peer.wall_seconds["fit"] + peer.wall_seconds["recommend"]
    )
