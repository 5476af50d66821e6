"""Reasons, related items, hero items and audiences on small tables."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from isrf_pipeline.merchandising.heroes import hero_audiences, hero_items
from isrf_pipeline.merchandising.reasons import with_reasons
from isrf_pipeline.merchandising.related import related_items, shared_taste
from isrf_pipeline.merchandising.segment_items import segment_items

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

LISTS = (
    "user_id string, rank int, item_id string, explicit_share double, implicit_share double, "
    "because_items array<string>, has_history boolean, rules array<string>"
)


def test_reasons_name_what_the_score_rests_on(spark: SparkSession) -> None:
    lists = spark.createDataFrame(
        [
            ("u", 1, "bag", 1.0, 0.0, ["scarf", "belt"], True, None),
            ("u", 2, "hat", 0.5, 0.5, ["scarf"], True, ["new_arrivals"]),
            ("u", 3, "belt", 0.0, 1.0, [], True, None),
            ("new", 1, "bag", 0.0, 1.0, [], False, None),
            ("new", 2, "hat", 0.0, 1.0, [], False, ["new_arrivals"]),
        ],
        LISTS,
    )
    items = spark.createDataFrame(
        [("bag", "Calf bag"), ("scarf", "Silk scarf"), ("belt", None), ("hat", "H" * 80)],
        "item_id string, title string",
    )
    features = spark.createDataFrame(
        [("bag", ["evening", "silk lining"]), ("scarf", ["silk lining"])],
        "item_id string, tags array<string>",
    )
    rows = with_reasons(lists, items, features)
    reasons = {(row["user_id"], row["item_id"]): row["reason"] for row in rows.collect()}
    assert reasons["u", "bag"] == "Goes with Silk scarf and belt (in common: silk lining)."
    assert reasons["u", "hat"] == "Goes with Silk scarf; clients with similar taste choose it too."
    assert reasons["u", "belt"] == "Chosen by clients with similar taste."
    assert reasons["new", "bag"] == "Much loved by our clients right now."
    assert reasons["new", "hat"] == "New in the collection."
    assert "has_history" not in rows.columns


def test_related_items_keep_the_stronger_relation(spark: SparkSession) -> None:
    edges = spark.createDataFrame(
        [
            ("i:a", "i:b", "followed_by", 4.0),
            ("i:a", "i:c", "followed_by", 1.0),
            ("i:a", "i:c", "similar_meaning", 0.5),
            ("u:x", "i:a", "interacted", 9.0),
        ],
        "src string, dst string, relation string, weight float",
    )
    taste = spark.createDataFrame([("i:a", "i:d", 0.2)], "src string, dst string, weight double")
    rows = {row["related_item_id"]: row for row in related_items(edges, taste, 5).collect()}
    assert set(rows) == {"b", "c", "d"}
    assert (rows["b"]["score"], rows["b"]["relation"]) == (1.0, "bought_after")
    assert (rows["c"]["score"], rows["c"]["relation"]) == (1.0, "same_need")
    assert (rows["d"]["score"], rows["d"]["relation"]) == (1.0, "same_taste")
    assert {row["rank"] for row in rows.values()} == {1, 2, 3}


def test_taste_is_shared_by_clients_across_categories(spark: SparkSession) -> None:
    rows = [(user, item, 1) for user in ("u1", "u2", "u3") for item in ("bag", "watch")]
    rows += [("u4", "bag", 1), ("u1", "purse", 1), ("u2", "purse", 1), ("u1", "old", 0), ("u2", "old", 0)]
    training = spark.createDataFrame(rows, "user_id string, item_id string, day int").selectExpr(
        "user_id", "item_id", "timestamp_seconds(day) AS ts"
    )
    items = spark.createDataFrame(
        [("bag", ["all", "bags"]), ("purse", ["all", "bags"]), ("watch", ["all", "watches"]), ("old", [])],
        "item_id string, categories array<string>",
    )
    found = {(row["src"], row["dst"]): row["weight"] for row in shared_taste(training, items, 3).collect()}
    # Bag and purse serve one need; the oldest item of u1 and u2 is beyond their three newest.
    assert set(found) == {
        ("i:bag", "i:watch"),
        ("i:watch", "i:bag"),
        ("i:purse", "i:watch"),
        ("i:watch", "i:purse"),
    }
    assert found["i:bag", "i:watch"] == pytest.approx(3 / (4 * 3) ** 0.5)
    assert found["i:purse", "i:watch"] == pytest.approx(2 / (2 * 3) ** 0.5)
    assert shared_taste(training, items, 0).isEmpty()


def test_segment_items_by_hand(spark: SparkSession) -> None:
    members = spark.createDataFrame(
        [(f"u{k}", "s1" if k < 4 else "s2") for k in range(12)], "user_id string, segment_id string"
    )
    having = {
        "scarf": range(4),
        "globe": range(3),
        "belt": range(12),
        "rare": range(2),
        "watch": range(4, 12),
    }
    events = spark.createDataFrame(
        [(f"u{k}", item) for item, users in having.items() for k in users], "user_id string, item_id string"
    )
    features = spark.createDataFrame(
        [("scarf", "silk"), ("globe", "decor"), ("watch", "steel")], "item_id string, word string"
    )
    segments = spark.createDataFrame(
        [("s1", ["Silk"]), ("s2", ["Steel"])], "segment_id string, top_features array<string>"
    )
    rows = segment_items(members, events, features, segments, 5).collect()
    found = {(row["segment_id"], row["kind"], row["rank"]): row for row in rows}
    assert {key: row["item_id"] for key, row in found.items()} == {
        ("s1", "typical", 1): "scarf",
        ("s1", "typical", 2): "globe",
        # Nothing in the segment's name lets one expect a globe; the belt everybody has, the rare item only two.
        ("s1", "surprising", 1): "globe",
        ("s2", "typical", 1): "watch",
    }
    assert found["s1", "typical", 2]["share"] == pytest.approx(3 / 4)
    assert found["s1", "typical", 2]["lift"] == pytest.approx(3)


def test_hero_items_by_segments_reached_and_lift(spark: SparkSession) -> None:
    recommendations = spark.createDataFrame(
        [("u1", 1, "x", "s1"), ("u2", 1, "x", "s2"), ("u3", 1, "y", "s2"), ("u1", 11, "y", "s1")],
        "user_id string, rank int, item_id string, segment_id string",
    ).selectExpr("*", "1.0 as explicit_share")
    training = spark.createDataFrame([("u3", "x"), ("u3", "x")], "user_id string, item_id string")
    members = spark.createDataFrame(
        [("s1", "u1"), ("s2", "u2"), ("s2", "u3")], "segment_id string, user_id string"
    )
    heroes = hero_items(recommendations, training, members, 2)
    rows = {row["item_id"]: row for row in heroes.collect()}
    # x is listed for 2 of 3 clients: all of s1, half of s2. y at place 11 does not count for u1.
    assert (rows["x"]["segments_reached"], rows["x"]["reach"]) == (1, 2)
    assert rows["x"]["lift"] == pytest.approx(3 / 2)
    assert (rows["y"]["segments_reached"], rows["y"]["reach"]) == (1, 1)
    assert rows["y"]["lift"] == pytest.approx(2.0)
    audience = hero_audiences(recommendations, heroes).where("campaign_id = 'hero:x'").collect()
    assert sorted(row["rank"] for row in audience) == [1, 2]
