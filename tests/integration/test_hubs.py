from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from isrf_pipeline.config.settings import UserGraphSettings
from isrf_pipeline.graphs.hubs import with_capped_hubs
from isrf_pipeline.graphs.neighbours import similar_clients

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

pytestmark = pytest.mark.spark

_NEIGHBOURS = "src string, dst array<string>, similarity array<float>"


def test_the_most_similar_keep_the_hub_by_hand(spark: SparkSession) -> None:
    rows = [
        ("a", ["hub", "b"], [0.5, 0.25]),
        ("b", ["c", "hub"], [0.75, 0.5625]),
        ("c", ["hub"], [0.4375]),
        ("hub", ["b"], [0.5625]),
        ("lonely", [], []),
    ]
    capped = with_capped_hubs(spark.createDataFrame(rows, _NEIGHBOURS).repartition(3), 2)
    assert {row.src: (row.dst, row.similarity) for row in capped.collect()} == {
        "a": (["hub", "b"], [0.5, 0.25]),
        "b": (["c", "hub"], [0.75, 0.5625]),
        "c": ([], []),
        "hub": (["b"], [0.5625]),
        "lonely": ([], []),
    }


def test_nobody_has_more_followers_than_allowed_even_among_equals(spark: SparkSession) -> None:
    # All are equally similar to the first: who keeps it must not depend on the order of rows.
    profiles = spark.createDataFrame(
        [(f"client {place}", [1.0, 0.0] if place == 0 else [0.6, 0.8]) for place in range(12)],
        "user_id string, embedding array<float>",
    )
    graph = UserGraphSettings(max_followers=4)
    found = {row.src: row.dst for row in similar_clients(profiles, profiles, 11, graph).collect()}
    shuffled = profiles.orderBy("user_id", ascending=False).repartition(3)
    assert found == {row.src: row.dst for row in similar_clients(shuffled, shuffled, 11, graph).collect()}
    followers = [client for listed in found.values() for client in listed]
    assert len(found) == 12
    assert {followers.count(client) for client in found} == {4}
