"""Group interest, rounds and the item-item moments on Spark, against values worked out by hand."""

from __future__ import annotations

import datetime
from typing import TYPE_CHECKING

import numpy as np
import pytest
from scipy import sparse

from isrf_pipeline.config.settings import InteractionGraphSettings, OptimizeSettings
from isrf_pipeline.graphs import moments
from isrf_pipeline.graphs.item_model import kernel_factor, solve_closed_form
from isrf_pipeline.graphs.local_model import solve_locally
from isrf_pipeline.interests.histories import coded_histories, item_codes
from isrf_pipeline.interests.implicit import group_interest
from isrf_pipeline.interests.model import InterestModel
from isrf_pipeline.interests.propagation import FusionWeights
from isrf_pipeline.interests.ranking import held_out_ndcg, rank_items
from isrf_pipeline.interests.rounds import Guidance, guided_profiles, mean_neighbour_overlap, with_group

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

GRAPH = InteractionGraphSettings(window=2, decay=0.5)


def model() -> InterestModel:
    followed = np.zeros((4, 4), np.float32)
    followed[0, 1] = followed[1, 2] = followed[2, 3] = 1.0
    return InterestModel(
        np.array(["a", "b", "c", "d"]),
        sparse.csr_matrix(followed),
        sparse.csr_matrix((4, 4), dtype=np.float32),
        np.eye(4, dtype=np.float32),
        np.array([4, 4, 4, 11], np.float32),
        np.ones(4, bool),
    )


def histories(spark: SparkSession, rows: dict[str, list[int]]) -> DataFrame:
    return spark.createDataFrame(
        [(user, codes, [1.0] * len(codes)) for user, codes in rows.items()],
        "user_id string, codes array<int>, weights array<float>",
    )


def test_coded_histories_are_newest_first_with_latest_event_and_strongest_type(spark: SparkSession) -> None:
    day = datetime.datetime(2026, 1, 1)
    events = spark.createDataFrame(
        [
            ("u", "a", day, 1.0),
            ("u", "b", day + datetime.timedelta(days=1), 0.3),
            ("u", "a", day + datetime.timedelta(days=2), 0.3),
        ],
        "user_id string, item_id string, ts timestamp, weight float",
    )
    row = coded_histories(events, item_codes(spark, np.array(["a", "b"]))).first()
    assert row is not None
    assert row["codes"] == [0, 1]
    assert row["weights"] == pytest.approx([1.0, 0.3])


def test_moments_do_not_depend_on_partitions(spark: SparkSession) -> None:
    rng = np.random.default_rng(0)
    rows = {f"u{k}": rng.permutation(30)[: rng.integers(2, 12)].tolist() for k in range(50)}
    frame = histories(spark, rows)
    one = moments.sequence_moments(frame.coalesce(1), 30, GRAPH)
    many = moments.sequence_moments(frame.repartition(5), 30, GRAPH)
    codes = np.concatenate([np.array(c, np.int32) for c in rows.values()])
    plain = moments.moments_of(codes, np.array([len(c) for c in rows.values()]), 30, 2, 0.5)
    for a, b, c in zip((one.xx, one.xy, one.ff), (many.xx, many.xy, many.ff), plain, strict=True):
        np.testing.assert_allclose(a.toarray(), b.toarray(), rtol=1e-6)
        np.testing.assert_allclose(a.toarray(), c.toarray(), rtol=1e-6)


def test_group_interest_by_hand(spark: SparkSession) -> None:
    neighbours = spark.createDataFrame(
        [("u1", ["u2", "u3"], [0.9, 0.5])], "src string, dst array<string>, similarity array<float>"
    )
    base = histories(spark, {"u1": [0], "u2": [1, 3], "u3": [1, 2]})
    row = group_interest(neighbours, base, np.array([4, 4, 4, 11], np.float32), 2.0, 3).first()
    assert row is not None
    # b: (.81 + .25) / 3, d: .81 / 4, c: .25 / 3; divided by b's.
    assert row["group_codes"] == [1, 3, 2]
    assert row["group_values"] == pytest.approx([1, (0.81 / 4) / (1.06 / 3), 0.25 / 1.06], rel=1e-4)


def test_guidance_pulls_a_profile_towards_explicit_interest(spark: SparkSession) -> None:
    shared = spark.sparkContext.broadcast(model())
    profiles = spark.createDataFrame([("u", [1.0, 0.0, 0.0, 0.0])], "user_id string, embedding array<float>")
    guidance = Guidance(GRAPH, OptimizeSettings(guidance=1.0, guide_items=1, semantic_weights=[0.0]))
    row = guided_profiles(with_group(histories(spark, {"u": [0]}), None), profiles, shared, guidance).first()
    assert row is not None
    # a leads to b, so the profile of a client with a moves half the way towards b.
    assert row["embedding"] == pytest.approx([0.5**0.5, 0.5**0.5, 0, 0], rel=1e-4)


def test_neighbour_overlap_by_hand(spark: SparkSession) -> None:
    schema = "src string, dst array<string>"
    now = spark.createDataFrame([("u", ["a", "b"]), ("v", ["a"])], schema)
    before = spark.createDataFrame([("u", ["b", "c"]), ("v", ["a"])], schema)
    assert mean_neighbour_overlap(now, before) == pytest.approx(0.75)


def test_held_out_ndcg_prefers_what_predicts_the_target(spark: SparkSession) -> None:
    from pyspark.sql import functions as F

    shared = spark.sparkContext.broadcast(model())
    group = spark.createDataFrame(
        [("u", [3], [1.0])], "user_id string, group_codes array<int>, group_values array<float>"
    )
    inputs = with_group(histories(spark, {"u": [0]}), group).withColumns(
        {"excluded": F.col("codes"), "target": F.lit(3)}
    )
    options = [FusionWeights(0.0, 0.0, 0.0), FusionWeights(0.0, 2.0, 0.0)]
    without, with_ = held_out_ndcg(inputs, shared, options, GRAPH, OptimizeSettings())
    # Explicit interest knows b only; d stands after it by popularity, and first once the group speaks.
    assert without == pytest.approx(1 / np.log2(3))
    assert with_ == pytest.approx(1.0)


def test_every_client_gets_a_list_whatever_the_partitioning(spark: SparkSession) -> None:
    from pyspark.sql import functions as F

    shared = spark.sparkContext.broadcast(model())
    frame = histories(spark, {"u1": [0, 2], "u2": [], "u3": [1]})
    results = []
    for partitions in (1, 3):
        inputs = with_group(frame, None).withColumn("excluded", F.col("codes")).repartition(partitions)
        ranked = rank_items(inputs, shared, FusionWeights(0.1, 0.1, 0.1), GRAPH, OptimizeSettings(), 2, True)
        results.append(sorted(map(str, ranked.collect())))
    assert results[0] == results[1]
    assert len(results[0]) == 6


def test_item_by_item_on_spark_is_the_closed_form_over_all_neighbours(spark: SparkSession) -> None:
    rng = np.random.default_rng(4)
    rows = {f"u{k}": rng.permutation(40)[: rng.integers(2, 9)].tolist() for k in range(80)}
    summed = moments.sequence_moments(histories(spark, rows), 40, GRAPH)
    kernel = kernel_factor([(rng.standard_normal((40, 6)).astype(np.float32), 1.0)])
    exact = solve_closed_form(summed, kernel, GRAPH)
    found = solve_locally(spark, summed, kernel, GRAPH)
    np.testing.assert_allclose(found.toarray(), exact.toarray(), atol=1e-5)
