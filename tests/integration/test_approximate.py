"""The approximate index of similar clients against the exact search."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from isrf_pipeline.config.settings import UserGraphSettings
from isrf_pipeline.errors import EnvironmentMismatchError
from isrf_pipeline.graphs import neighbours
from isrf_pipeline.graphs.approximate import cells_for, top_similar_approximate
from isrf_pipeline.graphs.neighbours import neighbour_recall, similar_clients
from isrf_pipeline.graphs.similarity import pairs_of, top_similar_packed

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

CLIENTS = 1500


@pytest.fixture(scope="module")
def profiles(spark: SparkSession) -> DataFrame:
    """Clients in forty groups, some of whom are exactly alike."""
    rng = np.random.default_rng(5)
    centres = rng.standard_normal((40, 24))
    vectors = centres[rng.integers(0, 40, CLIENTS)] + 0.6 * rng.standard_normal((CLIENTS, 24))
    vectors[: CLIENTS // 10] = vectors[-(CLIENTS // 10) :]
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    rows = [(f"client {row}", vectors[row].tolist()) for row in range(CLIENTS)]
    return spark.createDataFrame(rows, "user_id string, embedding array<float>").persist()


def rows_of(found: DataFrame) -> dict[str, tuple[list[str], list[float]]]:
    return {row["src"]: (row["dst"], row["similarity"]) for row in found.collect()}


def test_with_all_cells_it_is_the_exact_search(profiles: DataFrame, tmp_path: Path) -> None:
    exact = rows_of(top_similar_packed(profiles, profiles, 12, 256))
    everywhere = rows_of(
        top_similar_approximate(profiles.repartition(3), profiles.repartition(5), 12, 10_000, str(tmp_path))
    )
    assert everywhere.keys() == exact.keys()
    for client, (_, similarity) in exact.items():
        assert client not in everywhere[client][0]
        np.testing.assert_allclose(everywhere[client][1], similarity, atol=2e-6)
    # Beyond the last place equal ones may be left out by either.
    shared = [len({*exact[client][0]} & {*everywhere[client][0]}) / 12 for client in exact]
    assert np.mean(shared) > 0.99


def test_few_cells_find_most_and_their_recall_is_measured(
    profiles: DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(neighbours, "_MEASURED", 200)
    graph = UserGraphSettings(exact_users=CLIENTS - 1, probed_cells=6)
    found = similar_clients(profiles, profiles, 12, graph)
    recall = neighbour_recall(profiles, pairs_of(found), 12, graph)
    exact, near = rows_of(top_similar_packed(profiles, profiles, 12, 256)), rows_of(found)
    counted = np.mean([len({*exact[client][0]} & {*near[client][0]}) / 12 for client in exact])
    assert cells_for(CLIENTS) == 37
    assert 0.8 < counted < 1
    # A draw of 200 clients with 12 neighbours each.
    assert recall == pytest.approx(counted, abs=0.05)


def test_small_lakes_and_few_queries_are_searched_exactly(
    profiles: DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_index(*_: object) -> None:
        raise AssertionError("no index is needed")

    monkeypatch.setattr(neighbours, "top_similar_approximate", no_index)
    small = UserGraphSettings(exact_users=CLIENTS)
    assert similar_clients(profiles, profiles, 3, small).count() == CLIENTS
    assert neighbour_recall(profiles, profiles, 3, small) is None
    large = UserGraphSettings(exact_users=10)
    assert similar_clients(profiles.limit(5), profiles, 3, large).count() == 5


def test_nobody_to_compare_with(profiles: DataFrame, tmp_path: Path) -> None:
    found = rows_of(top_similar_approximate(profiles.limit(2), profiles.limit(0), 3, 4, str(tmp_path)))
    assert [*found.values()] == [([], []), ([], [])]


def test_what_is_missing_is_named(
    profiles: DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(EnvironmentMismatchError, match="object store"):
        top_similar_approximate(profiles, profiles, 3, 4, "s3a://bucket/checkpoints")
    monkeypatch.setitem(sys.modules, "faiss", None)
    with pytest.raises(EnvironmentMismatchError, match="faiss-cpu"):
        top_similar_approximate(profiles, profiles, 3, 4, str(tmp_path))
