"""What the generator writes as a scorer among others: columns beside the clients, weights in the fusion."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from pyspark.sql import functions as F
from scipy import sparse

from isrf_pipeline.config.generator_settings import GeneratorSettings
from isrf_pipeline.config.settings import InteractionGraphSettings, OptimizeSettings
from isrf_pipeline.generator.fitting import ItemMeaning, fit_generator
from isrf_pipeline.generator.lists import generated_lists, with_generated
from isrf_pipeline.interests.model import InterestModel
from isrf_pipeline.interests.propagation import FusionWeights
from isrf_pipeline.interests.ranking import held_out_ndcg, rank_items
from isrf_pipeline.interests.rounds import with_group

if TYPE_CHECKING:
    from pyspark import Broadcast
    from pyspark.sql import DataFrame, SparkSession

    from isrf_pipeline.generator.model import GeneratorModel

N = 12
GRAPH = InteractionGraphSettings()
SMALL = GeneratorSettings(
    levels=2,
    codes=3,
    width=16,
    heads=2,
    steps=4,
    epochs=12,
    batch=32,
    dropout=0.0,
    learning_rate=2e-2,
    beam=6,
)
NOTHING = FusionWeights(semantic=0.0, implicit=0.0, feedback=0.0, followed=0.0)


@pytest.fixture(scope="module")
def generator(spark: SparkSession) -> Broadcast[GeneratorModel]:
    """Trained on clients each of whom goes from one item to the next one of a ring."""
    rows = [(f"u{k:03}", [(k + step) % N for step in (4, 3, 2, 1, 0)]) for k in range(120)]
    histories = spark.createDataFrame(rows, "user_id string, codes array<int>")
    meaning = np.random.default_rng(0).normal(size=(N, 6)).astype(np.float32)
    items = spark.sparkContext.broadcast(ItemMeaning(meaning, meaning))
    return spark.sparkContext.broadcast(fit_generator(histories, items, SMALL, with_earlier=False).whole)


@pytest.fixture
def inputs(spark: SparkSession) -> DataFrame:
    rows = [
        ("ring", [5, 4, 3], [1.0] * 3, [5, 4, 3], 3, 7),
        ("kept", [1, 0], [1.0] * 2, [1, 0, 2], 2, 8),
        ("none", [], [], [], 0, 9),
    ]
    schema = (
        "user_id string, codes array<int>, weights array<float>, excluded array<int>, learned int, today int"
    )
    return spark.createDataFrame(rows, schema)


def test_columns_hold_the_lists_in_their_order_and_nothing_excluded(
    inputs: DataFrame, generator: Broadcast[GeneratorModel]
) -> None:
    available = np.ones(N, bool)
    available[7] = False
    beside = with_generated(inputs, generator, available)
    assert beside.columns == [*inputs.drop("learned").columns, "generated_codes", "generated_values"]
    rows = {row["user_id"]: row for row in beside.collect()}
    lists = generated_lists(inputs, generator, available, 6).orderBy("user_id", "rank").collect()
    for user, row in rows.items():
        own = [listed for listed in lists if listed["user_id"] == user]
        assert row["generated_codes"] == [listed["code"] for listed in own]
        expected = [np.exp(listed["score"] - own[0]["score"]) for listed in own]
        assert row["generated_values"] == pytest.approx(expected, rel=1e-5)
        assert not {*row["generated_codes"]} & {*row["excluded"], 7}
    assert rows["ring"]["generated_codes"][0] == 6
    assert rows["ring"]["generated_values"][0] == 1.0
    assert rows["none"]["generated_codes"] == []
    assert [rows[user]["today"] for user in ("ring", "kept", "none")] == [7, 8, 9]


def test_fusion_follows_the_generator_where_it_has_weight(
    spark: SparkSession, inputs: DataFrame, generator: Broadcast[GeneratorModel]
) -> None:
    nothing = sparse.csr_matrix((N, N), dtype=np.float32)
    names = np.array([f"i{code:02}" for code in range(N)])
    popularity = np.arange(N, 0, -1).astype(np.float32)
    shared = spark.sparkContext.broadcast(
        InterestModel(
            names, nothing, nothing, np.eye(N, dtype=np.float32), popularity, np.ones(N, dtype=bool)
        )
    )
    asked = with_group(with_generated(inputs, generator), None)
    with_weight = FusionWeights(**{**vars(NOTHING), "generator": 0.5})
    ring = asked.where("user_id = 'ring'").withColumn("target", F.lit(6))
    without, with_ = held_out_ndcg(ring, shared, [NOTHING, with_weight], GRAPH, OptimizeSettings())
    # By popularity alone three items stand before it.
    assert without == pytest.approx(1 / np.log2(5))
    assert with_ == pytest.approx(1.0)
    listed = rank_items(asked, shared, with_weight, GRAPH, OptimizeSettings(), 3, False)
    first = {row["user_id"]: row for row in listed.where("rank = 1").collect()}
    assert first["ring"]["item_id"] == "i06"
    assert first["ring"]["explicit_share"] > 0.99
    assert (first["none"]["item_id"], first["none"]["explicit_share"]) == ("i00", 0.0)
