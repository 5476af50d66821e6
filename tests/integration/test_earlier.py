"""What the ranker learns from must not know its labels; what it and the sequence model learn on Spark."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np
import pytest
from scipy import sparse

from isrf_pipeline.config.settings import LakeSettings, RankerSettings, SequenceSettings, Settings
from isrf_pipeline.interests.earlier import earlier_histories, earlier_knowledge, earlier_model
from isrf_pipeline.interests.model import InterestModel
from isrf_pipeline.interests.propagation import FusionWeights
from isrf_pipeline.interests.ranker_training import RankerTrial, train_ranker, try_ranker
from isrf_pipeline.interests.ranking import held_out_ndcg, rank_items
from isrf_pipeline.interests.reranking import Reranking
from isrf_pipeline.ranker.facts import ItemFacts, past_sales
from isrf_pipeline.sequences.fitting import fit_sequences

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

ITEMS = 12
WEIGHTS = FusionWeights(0.0, 0.2, 0.0, 0.5)
SETTINGS = Settings(
    lake=LakeSettings(root="unused"),
    ranker=RankerSettings(trees=5, min_leaf=2),
    sequence=SequenceSettings(width=8, steps=5, epochs=2, further_epochs=1, batch=16, negatives=4),
)


def histories(spark: SparkSession, rows: dict[str, list[int]]) -> DataFrame:
    """Newest first; the oldest item was chosen on day 100, each later one a day later."""
    return spark.createDataFrame(
        [
            (user, codes, [1.0] * len(codes), [100 + len(codes) - 1 - k for k in range(len(codes))])
            for user, codes in rows.items()
        ],
        "user_id string, codes array<int>, weights array<float>, days array<int>",
    )


def walks(spark: SparkSession, clients: int = 60) -> DataFrame:
    """Clients who go round the items, each item after the one before it."""
    return histories(
        spark, {f"u{k}": [(k + step) % ITEMS for step in range(4, -1, -1)] for k in range(clients)}
    )


def model(frame: DataFrame) -> InterestModel:
    followed = np.roll(np.eye(ITEMS, dtype=np.float32), 1, axis=1)
    none = np.full(ITEMS, -1, np.int32)
    facts = ItemFacts(none, none, none, np.full(ITEMS, np.nan, np.float32), past_sales(frame, ITEMS))
    return InterestModel(
        np.array([f"i{k:02}" for k in range(ITEMS)]),
        sparse.csr_matrix(followed),
        sparse.csr_matrix((ITEMS, ITEMS), dtype=np.float32),
        np.eye(ITEMS, dtype=np.float32),
        np.full(ITEMS, 25, np.float32),
        np.ones(ITEMS, bool),
        facts,
    )


def test_the_newest_item_becomes_the_target_and_leaves_nothing_behind(spark: SparkSession) -> None:
    frame = histories(spark, {"u": [3, 2, 1], "v": [1, 4], "w": [5]})
    before = earlier_histories(frame)
    rows = {row["user_id"]: row for row in before.collect()}
    assert set(rows) == {"u", "v"}
    assert (rows["u"]["codes"], rows["u"]["days"], rows["u"]["target"]) == ([2, 1], [101, 100], 3)
    known = earlier_model(model(frame), before, sparse.csr_matrix((ITEMS, ITEMS)), None)
    assert np.flatnonzero(known.popularity).tolist() == [1, 2, 4]
    assert known.facts is not None
    assert (
        known.facts.sales.before(np.arange(ITEMS), np.full(ITEMS, 999)).tolist() == known.popularity.tolist()
    )


def test_labels_may_be_exchanged_without_changing_any_input(spark: SparkSession) -> None:
    def inputs_of(last: int) -> list[str]:
        rows = {f"u{k}": [last + k % 3, k % 5, (k + 1) % 5] for k in range(12)}
        frame = histories(spark, rows)
        before = earlier_histories(frame).persist()
        known = earlier_model(model(frame), before, sparse.identity(ITEMS, np.float32, format="csr"), None)
        shared = spark.sparkContext.broadcast(known)
        # Round 1 is mapped: the map is trained anew and has not seen the labels either.
        inputs = earlier_knowledge(before, shared, 1, SETTINGS, aligned_rounds={1}).inputs.drop("target")
        return sorted(map(str, inputs.collect()))

    assert inputs_of(5) == inputs_of(8)


def test_ranker_learns_on_spark_and_lists_add_up(spark: SparkSession) -> None:
    frame = walks(spark)
    before = earlier_histories(frame).persist()
    shared = spark.sparkContext.broadcast(model(frame))
    earlier = earlier_knowledge(before, shared, 0, SETTINGS)
    ranker, learned = train_ranker(earlier.inputs, shared, WEIGHTS, SETTINGS)
    assert ranker is not None
    assert learned == {"clients": 60.0, "candidate_recall": 1.0}
    again, _ = train_ranker(earlier.inputs.repartition(5), shared, WEIGHTS, SETTINGS)
    assert again is not None
    assert again.text == ranker.text
    reranking = Reranking(ranker, SETTINGS.ranker, SETTINGS.optimize.scorers)
    trial = try_ranker(earlier.inputs, shared, WEIGHTS, reranking, SETTINGS)
    assert trial.ndcg > 0.9
    (fused,) = held_out_ndcg(earlier.inputs, shared, [WEIGHTS], SETTINGS.interaction_graph, SETTINGS.optimize)
    assert trial.ndcg - trial.gain == pytest.approx(fused, abs=1e-8)
    lists = rank_items(
        earlier.inputs, shared, WEIGHTS, SETTINGS.interaction_graph, SETTINGS.optimize, 3, True, reranking
    ).collect()
    assert len(lists) == 60 * 3
    for row in lists:
        assert row["explicit_share"] + row["implicit_share"] == pytest.approx(1)


def test_a_ranker_ranks_only_where_its_gain_is_beyond_noise_and_large_enough() -> None:
    sure = RankerTrial(ndcg=0.11, gain=0.01, error=0.004)
    assert sure.helps(RankerSettings())
    assert not sure.helps(RankerSettings(min_standard_errors=3))
    assert not sure.helps(RankerSettings(min_gain=0.2))
    assert not RankerTrial(ndcg=0.11, gain=0.001, error=0.004).helps(RankerSettings())
    assert not RankerTrial(ndcg=0.1, gain=0.0, error=0.0).helps(RankerSettings(min_standard_errors=0))


def test_clients_without_history_get_what_is_popular_whoever_ranks(spark: SparkSession) -> None:
    from pyspark.sql import functions as F

    frame = walks(spark)
    popular = dataclasses.replace(model(frame), popularity=np.arange(ITEMS, dtype=np.float32))
    shared = spark.sparkContext.broadcast(popular)
    earlier = earlier_knowledge(earlier_histories(frame).persist(), shared, 0, SETTINGS)
    ranker, _ = train_ranker(earlier.inputs, shared, WEIGHTS, SETTINGS)
    assert ranker is not None
    nobody = earlier.inputs.limit(1).withColumns(
        {
            name: F.array().cast(kind)
            for name, kind in (
                ("codes", "array<int>"),
                ("weights", "array<float>"),
                ("group_codes", "array<int>"),
                ("group_values", "array<float>"),
                ("excluded", "array<int>"),
            )
        }
    )
    rows = rank_items(
        nobody,
        shared,
        WEIGHTS,
        SETTINGS.interaction_graph,
        SETTINGS.optimize,
        3,
        True,
        Reranking(ranker, SETTINGS.ranker, SETTINGS.optimize.scorers),
    ).collect()
    assert [row["item_id"] for row in sorted(rows, key=lambda row: row["rank"])] == ["i11", "i10", "i09"]
    assert {row["implicit_share"] for row in rows} == {1.0}


def test_no_ranker_where_no_next_item_is_a_candidate(spark: SparkSession) -> None:
    frame = histories(spark, {"u": [2, 1], "v": [3, 1]})
    inputs = earlier_knowledge(
        earlier_histories(frame), spark.sparkContext.broadcast(model(frame)), 0, SETTINGS
    ).inputs.withColumn("target", inputs_excluded())
    found = train_ranker(inputs, spark.sparkContext.broadcast(model(frame)), WEIGHTS, SETTINGS)
    assert found == (None, {"clients": 2.0, "candidate_recall": 0.0})


def inputs_excluded() -> object:
    """The newest item of the input, which no list may hold."""
    from pyspark.sql import functions as F

    return F.col("codes")[0]


def test_sequence_model_is_the_same_whatever_the_partitioning(spark: SparkSession) -> None:
    meaning = spark.sparkContext.broadcast(np.eye(ITEMS, dtype=np.float32))
    frame = walks(spark).select("user_id", "codes")
    earlier, whole = fit_sequences(frame, meaning, SETTINGS.sequence)
    again = fit_sequences(frame.repartition(7), meaning, SETTINGS.sequence)
    assert np.array_equal(earlier.items, again[0].items)
    assert np.array_equal(whole.items, again[1].items)
    assert not np.array_equal(earlier.items, whole.items)


def test_sequence_model_before_the_last_events_does_not_know_them(spark: SparkSession) -> None:
    meaning = spark.sparkContext.broadcast(np.eye(ITEMS, dtype=np.float32))

    def before(last: int) -> np.ndarray:
        rows = {f"u{k}": [last + k % 3, k % 5, (k + 1) % 5] for k in range(20)}
        return fit_sequences(histories(spark, rows), meaning, SETTINGS.sequence)[0].items

    assert np.array_equal(before(5), before(8))
