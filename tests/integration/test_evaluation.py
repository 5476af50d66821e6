"""Metrics and peers on lists whose figures are worked out by hand."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from isrf_pipeline.config.settings import EvaluationSettings, MllibAlsSettings
from isrf_pipeline.evaluation.beyond_accuracy import beyond_accuracy
from isrf_pipeline.evaluation.metrics import accuracy
from isrf_pipeline.evaluation.peers import mllib_als_lists, popularity_lists
from isrf_pipeline.evaluation.slices import client_slices, slice_sizes

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


def test_metrics_agree_with_ranx_on_random_lists(spark: SparkSession) -> None:
    """The file holds lists drawn at random and what ranx measured on them; ranx_reference.py says how it was made."""
    reference = json.loads((Path(__file__).parent / "ranx_reference.json").read_text(encoding="utf-8"))
    rows = [
        (client, place, item)
        for client, items in reference["lists"].items()
        for place, item in enumerate(items, start=1)
    ]
    clients = [(client, item, ["all"]) for client, item in reference["held_out"].items()]
    found = accuracy({"ours": spark.createDataFrame(rows, LISTS)}, judged(spark, clients))
    assert {name: found[f"ours.{name}", "all"] for name in reference["ranx"]} == pytest.approx(
        reference["ranx"]
    )
    assert set(found) == {(f"ours.{name}", "all") for name in reference["ranx"]}


def test_metrics_of_nothing_are_absent(spark: SparkSession) -> None:
    assert accuracy({"ours": spark.createDataFrame([], LISTS)}, judged(spark, [])) == {}


def test_what_lists_show_by_hand(spark: SparkSession) -> None:
    training = known_items(spark)
    features = spark.createDataFrame(
        [("a", [3.0, 0.0]), ("b", [0.0, 1.0]), ("c", [1.0, 0.0]), ("d", None), ("e", [1.0, 1.0])],
        "item_id string, embedding array<float>",
    )
    # u9 is not asked for, place 11 is not shown, z is not in the catalogue, d has no embedding.
    places = [("u1", 1, "a"), ("u1", 2, "b"), ("u1", 11, "e"), ("u2", 1, "a"), ("u2", 2, "c"), ("u2", 3, "z")]
    lists = spark.createDataFrame([*places, ("u3", 1, "c"), ("u3", 2, "d"), ("u9", 1, "e")], LISTS)
    clients = spark.createDataFrame([("u1",), ("u2",), ("u3",), ("u4",)], "user_id string")
    systems = {"ours": lists, "none": lists.limit(0)}
    found = beyond_accuracy(systems, clients, training, features)
    # Of five items four are shown, in 2, 1, 2 and 1 of six places.
    assert found["ours.coverage@10", "all"] == pytest.approx(4 / 5)
    assert found["ours.gini@10", "all"] == pytest.approx((-2 * 1 + 0 * 1 + 2 * 2 + 4 * 2) / 6 / 4)
    # Of four clients three have a, two b, one each c and d.
    assert found["ours.novelty@10", "all"] == pytest.approx((2 * math.log2(4 / 3) + 1 + 2 * 2 + 2) / 6)
    # a and b are at right angles, a and c are parallel; the third list has one embedded item only.
    assert found["ours.diversity@10", "all"] == pytest.approx(0.5)
    assert {key: value for key, value in found.items() if key[0].startswith("none")} == {
        ("none.coverage@10", "all"): 0.0
    }


def test_slices_by_hand(spark: SparkSession) -> None:
    pairs = "user_id string, item_id string"
    training = spark.createDataFrame(
        [("u1", "a"), ("u1", "b"), ("u4", "b"), *(("u2", item) for item in "abcdefg")], pairs
    )
    known = training.union(spark.createDataFrame([("u5", "c")], pairs))
    items = spark.createDataFrame(
        [("a", ["x", "y"]), ("b", ["x", "y"]), ("c", ["x", "z"]), ("n", ["x", "w"]), ("e", [])],
        "item_id string, categories array<string>",
    )
    held_out = spark.createDataFrame([("u1", "c"), ("u2", "n"), ("u3", "e"), ("u4", "a"), ("u5", "n")], pairs)
    judged = client_slices(held_out, known, training, items)
    found = {row["user_id"]: set(row["slices"]) for row in judged.collect()}
    assert found["u1"] == {"all", "history<=3", "item<=5", "category new"}
    assert found["u2"] == {"all", "history>6", "item unseen", "category new"}
    # Nothing is known of u3 but that it exists; where the category is not known nothing is said about it.
    assert found["u3"] == {"all", "client unseen", "client new", "item<=5"}
    assert found["u4"] == {"all", "history=1", "history<=3", "item<=5"}
    # u5 has a history, which nothing was fitted on.
    assert found["u5"] == {"all", "client unseen", "item unseen", "category new"}
    sizes = slice_sizes(judged)
    assert (sizes["all"], sizes["client unseen"], sizes["client new"], sizes["item<=5"]) == (5, 2, 1, 3)


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
