from __future__ import annotations

import datetime
from typing import TYPE_CHECKING

import numpy as np
import pytest
from sklearn.metrics import adjusted_rand_score

from isrf_pipeline.config.settings import UserGraphSettings
from isrf_pipeline.graphs.communities import find_communities
from isrf_pipeline.graphs.segments import describe_segments, features_of_items
from isrf_pipeline.graphs.similarity import top_similar
from isrf_pipeline.graphs.statistics import graph_statistics

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

_GROUPS, _CLIENTS = 4, 60


@pytest.fixture(scope="module")
def similarity(spark: SparkSession) -> DataFrame:
    """Neighbours of clients whose profiles scatter around one centre a group."""
    rng = np.random.default_rng(11)
    centres = rng.standard_normal((_GROUPS, 24))
    vectors = np.repeat(centres, _CLIENTS, axis=0) + 0.8 * rng.standard_normal((_GROUPS * _CLIENTS, 24))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    rows = [(f"g{row // _CLIENTS} c{row}", vector.tolist()) for row, vector in enumerate(vectors)]
    profiles = spark.createDataFrame(rows, "user_id string, embedding array<float>")
    return top_similar(profiles, profiles, 15, 4096).localCheckpoint()


def _found(similarity: DataFrame, settings: UserGraphSettings) -> dict[str, tuple[str, float]]:
    return {
        row.user_id: (row.community, row.affinity) for row in find_communities(similarity, settings).collect()
    }


def test_planted_groups_are_found_whatever_the_order_of_rows(similarity: DataFrame) -> None:
    settings = UserGraphSettings(community_neighbours=10, community_rounds=3, min_segment_size=10)
    found = _found(similarity, settings)
    assert len(found) == _GROUPS * _CLIENTS
    planted = [user_id.split()[0] for user_id in found]
    assert adjusted_rand_score(planted, [community for community, _ in found.values()]) > 0.95
    assert all(0 <= affinity <= 1 for _, affinity in found.values())
    assert np.mean([affinity for _, affinity in found.values()]) > 0.9
    assert _found(similarity.repartition(7, "dst").sortWithinPartitions("similarity"), settings) == found


def test_segments_are_told_apart_by_what_their_clients_share(spark: SparkSession) -> None:
    day = datetime.datetime(2025, 1, 1)
    members = spark.createDataFrame(
        [(f"c{n}", "s1" if n < 10 else "s2") for n in range(30)], "user_id string, segment_id string"
    )
    events = spark.createDataFrame(
        [(f"c{n}", "scarf" if n < 10 else "watch", day) for n in range(30)]
        + [(f"c{n}", "belt", day) for n in range(30)],
        "user_id string, item_id string, ts timestamp",
    )
    items = spark.createDataFrame(
        [("scarf", "Maison Aube", ["Scarves"]), ("watch", "Ferrant", ["Watches"]), ("belt", " ", ["Belts"])],
        "item_id string, brand string, categories array<string>",
    )
    tags = spark.createDataFrame(
        [("scarf", ["hand-rolled silk", "scarves"]), ("watch", []), ("belt", ["leather"])],
        "item_id string, tags array<string>",
    )
    features = features_of_items(items, tags)
    found = {row.segment_id: row for row in describe_segments(members, events, features).collect()}
    assert found["s1"].size == 10
    assert found["s1"].name == "Maison Aube · Scarves"
    assert found["s1"].top_features == ["Maison Aube", "Scarves", "hand-rolled silk"]
    assert found["s2"].name == "Ferrant · Watches"
    assert found["s1"].description == (
        "10 clients drawn to Maison Aube, Scarves, hand-rolled silk; "
        "100 % of them chose Maison Aube, 3.0 times the share among all clients."
    )

    # The name of the night before stays as long as what it begins with is true.
    before = spark.createDataFrame(
        [("s1", "Scarves · Paris"), ("s2", "Rings · Ferrant")], "segment_id string, name string"
    )
    names = {
        row.segment_id: row.name for row in describe_segments(members, events, features, before).collect()
    }
    assert names == {"s1": "Scarves · Paris", "s2": "Ferrant · Watches"}

    everyone = members.selectExpr("user_id", "'s' AS segment_id")
    (row,) = describe_segments(everyone, events, features).collect()
    assert (row.name, row.size, row.top_features) == ("Mixed tastes", 30, [])


def test_statistics_count_vertices_without_edges(spark: SparkSession) -> None:
    vertices = spark.createDataFrame(
        [("a", "user"), ("b", "user"), ("c", "user"), ("x", "item")], "id string, kind string"
    )
    edges = spark.createDataFrame(
        [("a", "x", "interacted", 1.0), ("b", "x", "interacted", 3.0), ("a", "b", "similar", 0.5)],
        "src string, dst string, relation string, weight float",
    )
    values = graph_statistics(vertices, edges)
    assert values["vertices", "user"] == 3
    assert values["degree.min", "user"] == 0
    assert values["degree.median", "user"] == 2
    assert values["degree.max", "item"] == 2
    assert values["edges", "interacted"] == 2
    assert values["weight.mean", "interacted"] == pytest.approx(2.0)
    assert values["weight.p50", "similar"] == pytest.approx(0.5)
