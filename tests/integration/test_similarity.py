from __future__ import annotations

import datetime
from typing import TYPE_CHECKING

import numpy as np
import pytest

from isrf_pipeline.graphs.profiles import history_profiles, ordered_history
from isrf_pipeline.graphs.similarity import pack_profiles, top_similar, top_similar_packed

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

_PROFILE = "user_id string, embedding array<float>"


def _unit_vectors(n: int, dimensions: int = 16) -> np.ndarray:
    vectors = np.random.default_rng(3).standard_normal((n, dimensions)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def _frame(spark: SparkSession, vectors: np.ndarray, order: np.ndarray | None = None) -> DataFrame:
    rows = [
        (f"client {row}", vectors[row].tolist()) for row in (range(len(vectors)) if order is None else order)
    ]
    return spark.createDataFrame(rows, _PROFILE)


def _pairs(found: DataFrame) -> list[tuple[str, int, str, float]]:
    return sorted((row.src, row.rank, row.dst, row.similarity) for row in found.collect())


@pytest.mark.parametrize("block_users", [64, 4096])
def test_top_similar_is_exact_whatever_the_blocks(spark: SparkSession, block_users: int) -> None:
    vectors = _unit_vectors(700)
    profiles = _frame(spark, vectors)
    full = vectors @ vectors.T
    np.fill_diagonal(full, -2)
    found = _pairs(top_similar(profiles, profiles, 7, block_users))
    assert len(found) == 700 * 7
    for src, rank, dst, similarity in found:
        row = int(src.split()[1])
        best = np.argsort(-full[row])[rank - 1]
        assert dst == f"client {best}"
        assert similarity == pytest.approx(full[row, best], abs=2e-6)


def test_row_order_and_partitions_change_nothing_even_with_ties(spark: SparkSession) -> None:
    vectors = np.repeat(_unit_vectors(30), 10, axis=0)
    order = np.random.default_rng(1).permutation(len(vectors))
    plain, shuffled = _frame(spark, vectors), _frame(spark, vectors, order).repartition(5)
    assert _pairs(top_similar(plain, plain, 12, 64)) == _pairs(top_similar(shuffled, shuffled, 12, 64))


def test_queries_may_differ_from_the_base_and_be_alone(spark: SparkSession) -> None:
    vectors = _unit_vectors(20)
    base, queries = _frame(spark, vectors), _frame(spark, vectors[:1])
    (row,) = top_similar_packed(queries, base, 50, 64).collect()
    assert row.src == "client 0"
    assert len(row.dst) == 19
    assert "client 0" not in row.dst
    assert row.similarity == sorted(row.similarity, reverse=True)
    assert top_similar(queries, queries, 3, 64).count() == 0
    assert top_similar(queries.limit(0), base, 3, 64).count() == 0
    assert top_similar(queries, base.limit(0), 3, 64).count() == 0


def test_blocks_hold_every_client_once_with_its_own_vector(spark: SparkSession) -> None:
    vectors = _unit_vectors(300)
    blocks = pack_profiles(_frame(spark, vectors), 64).collect()
    assert len(blocks) > 1
    seen = {}
    for block in blocks:
        rows = np.frombuffer(block.vectors, np.float32).reshape(len(block.user_ids), -1)
        seen.update(zip(block.user_ids, rows, strict=True))
    assert len(seen) == 300
    assert all(np.array_equal(seen[f"client {row}"], vectors[row]) for row in range(300))


def test_history_is_newest_first_with_distinct_items_and_strongest_weights(spark: SparkSession) -> None:
    day = datetime.datetime(2025, 1, 1)
    events = [
        ("a", "silk", day, 1.0),
        ("a", "steel", day + datetime.timedelta(days=1), 0.6),
        ("a", "silk", day + datetime.timedelta(days=2), 0.3),
        *[("b", f"item {n}", day, 1.0) for n in range(8)],
    ]
    schema = "user_id string, item_id string, ts timestamp, weight float"
    histories = {row.user_id: row for row in ordered_history(spark.createDataFrame(events, schema)).collect()}
    assert histories["a"]["items"] == ["silk", "steel"]
    assert histories["a"]["weights"] == pytest.approx([1.0, 0.6])
    backwards = {
        row.user_id: row for row in ordered_history(spark.createDataFrame(events[::-1], schema)).collect()
    }
    assert histories == backwards
    assert histories["b"]["items"] != sorted(histories["b"]["items"])

    embeddings = spark.createDataFrame(
        [("silk", [1.0, 0.0]), ("steel", [0.0, 1.0])], "item_id string, embedding array<float>"
    )
    text = spark.createDataFrame([("c", [0.6, 0.8]), ("d", None)], _PROFILE)
    profiles = history_profiles(spark.createDataFrame(events, schema), embeddings, 0.5, text, 0.5)
    found = {row.user_id: row.embedding for row in profiles.collect()}
    assert found.keys() == {"a", "c"}
    assert found["a"] == pytest.approx(list(np.array([1.0, 0.3]) / np.hypot(1.0, 0.3)), abs=1e-6)
    assert found["c"] == pytest.approx([0.6, 0.8], abs=1e-6)
