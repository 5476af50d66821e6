"""Scores, ranks, shares and grounds of recommendations on a graph small enough to work out by hand."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse

from isrf_pipeline.config.settings import InteractionGraphSettings, OptimizeSettings
from isrf_pipeline.interests import propagation, ranking
from isrf_pipeline.interests.blocks import block_interests, scored_blocks
from isrf_pipeline.interests.model import InterestModel, embedding_matrix, sorted_item_ids
from isrf_pipeline.interests.propagation import FusionWeights

GRAPH = InteractionGraphSettings(window=2)
OPTIMIZE = OptimizeSettings()


def model() -> InterestModel:
    """Five items: a leads to c (1.0) and d (.5), b leads to d (1.0); b and e mean the same."""
    followed = np.zeros((5, 5), np.float32)
    followed[0, 2], followed[0, 3], followed[1, 3] = 1.0, 0.5, 1.0
    semantic = np.zeros((5, 5), np.float32)
    semantic[1, 4] = semantic[4, 1] = 1.0
    return InterestModel(
        np.array(["a", "b", "c", "d", "e"]),
        sparse.csr_matrix(followed),
        sparse.csr_matrix(semantic),
        np.eye(5, dtype=np.float32),
        np.array([3, 2, 1, 1, 0], np.float32),
        np.array([True, True, True, True, False]),
    )


def block(
    codes: list[list[int]],
    group: list[dict[int, float]] | None = None,
    excluded: list[list[int]] | None = None,
) -> pa.RecordBatch:
    group = group or [{} for _ in codes]
    return pa.RecordBatch.from_pydict(
        {
            "user_id": [f"u{k}" for k in range(len(codes))],
            "codes": pa.array(codes, pa.list_(pa.int32())),
            "weights": pa.array([[1.0] * len(c) for c in codes], pa.list_(pa.float32())),
            "group_codes": pa.array([list(g) for g in group], pa.list_(pa.int32())),
            "group_values": pa.array([list(g.values()) for g in group], pa.list_(pa.float32())),
            "excluded": pa.array(excluded or codes, pa.list_(pa.int32())),
        }
    )


def listed(
    rows: pa.RecordBatch, weights: FusionWeights, only_available: bool = False
) -> list[dict[str, object]]:
    (scored,) = scored_blocks(iter([rows]), model(), weights, GRAPH, OPTIMIZE, only_available)
    return ranking.ranked_block(scored, model(), weights, GRAPH, 5).to_pylist()


def test_explicit_scores_by_hand() -> None:
    # Newest first: b weighs 1, a weighs .5. c gets .5, d gets .25 + 1 = 1.25; divided by the largest.
    rows = listed(block([[1, 0]]), FusionWeights(semantic=0.0, implicit=0.0, feedback=0.0, decay=0.5))
    assert [row["item_id"] for row in rows] == ["d", "c", "e"]
    assert rows[0]["score"] == pytest.approx(1.0, abs=1e-3)
    assert rows[1]["score"] == pytest.approx(0.5 / 1.25, abs=1e-3)
    assert rows[0]["because_items"] == ["b", "a"]
    assert rows[1]["because_items"] == ["a"]


def test_each_fusion_looks_back_as_far_as_its_decay_says() -> None:
    decays = (0.5, 0.9)
    interests = block_interests(block([[1, 0]]), model(), GRAPH, OPTIMIZE, decays)
    for decay in decays:
        parts = propagation.score_parts(interests, FusionWeights(0.0, 0.0, 0.0, decay=decay))
        # c follows from a alone, d from both.
        assert parts.explicit[0, 2] == pytest.approx(decay / (0.5 * decay + 1))
        assert parts.explicit[0, 3] == pytest.approx(1.0)


def test_edges_of_meaning_are_scaled_by_their_own_largest() -> None:
    rows = listed(block([[1, 0]]), FusionWeights(semantic=0.3, implicit=0.0, feedback=0.0))
    scores = {row["item_id"]: row["score"] for row in rows}
    assert scores["e"] == pytest.approx(0.3, abs=1e-3)
    assert next(row for row in rows if row["item_id"] == "e")["because_items"] == ["b"]


def test_group_interest_is_implicit() -> None:
    rows = listed(block([[1]], [{2: 1.0}]), FusionWeights(semantic=0.0, implicit=0.4, feedback=0.0))
    by_item = {row["item_id"]: row for row in rows}
    assert by_item["c"]["score"] == pytest.approx(0.4, abs=1e-3)
    assert by_item["c"]["implicit_share"] == pytest.approx(1.0)
    assert by_item["d"]["explicit_share"] == pytest.approx(1.0, abs=1e-3)


def test_feedback_through_the_graph_counts_as_implicit() -> None:
    # The group likes a, which leads to c; the client has shown nothing that leads to c.
    rows = listed(block([[1]], [{0: 1.0}]), FusionWeights(semantic=0.0, implicit=0.0, feedback=0.5))
    c = next(row for row in rows if row["item_id"] == "c")
    assert c["score"] > 0.3
    assert c["implicit_share"] == pytest.approx(1.0)


def test_clients_without_history_get_what_is_popular() -> None:
    rows = listed(block([[]]), FusionWeights(semantic=0.1, implicit=0.2, feedback=0.1))
    assert [row["item_id"] for row in rows] == ["a", "b", "c", "d", "e"]
    assert not any(row["has_history"] or row["because_items"] for row in rows)


def test_excluded_and_unavailable_items_are_never_listed() -> None:
    rows = listed(block([[1, 0]], excluded=[[3]]), FusionWeights(0.3, 0.0, 0.0), only_available=True)
    assert {row["item_id"] for row in rows} == {"a", "b", "c"}
    assert [row["rank"] for row in rows] == [1, 2, 3]


@given(
    st.lists(
        st.permutations(range(5)).flatmap(lambda p: st.integers(0, 4).map(lambda n: p[:n])),
        min_size=1,
        max_size=4,
    ),
    st.floats(0, 1),
    st.floats(0, 1),
    st.floats(0, 1),
)
def test_shares_add_up_and_lists_are_sorted(
    codes: list[list[int]], semantic: float, implicit: float, back: float
) -> None:
    rows = listed(block(codes, [{2: 1.0, 3: 0.5} for _ in codes]), FusionWeights(semantic, implicit, back))
    for row in rows:
        assert row["explicit_share"] + row["implicit_share"] == pytest.approx(1)
        assert 0 <= row["explicit_share"] <= 1
    for user in {row["user_id"] for row in rows}:
        scores = [row["score"] for row in rows if row["user_id"] == user]
        assert scores == sorted(scores, reverse=True)


def test_ties_count_against_the_target() -> None:
    scores = np.array([[0.5, 0.5, 0.2, 0.9]], np.float32)
    nothing = [np.array([], np.int32)]
    assert ranking.ranks_of(scores, np.array([0]), nothing).tolist() == [3]
    assert ranking.ranks_of(scores, np.array([0]), [np.array([1, 3], np.int32)]).tolist() == [1]


@given(st.lists(st.floats(0, 1, width=32), min_size=2, max_size=12), st.data())
def test_rank_equals_its_definition(values: list[float], data: st.DataObject) -> None:
    target = data.draw(st.integers(0, len(values) - 1))
    excluded = data.draw(st.sets(st.integers(0, len(values) - 1)))
    others = [v for k, v in enumerate(values) if k != target and k not in excluded]
    expected = 1 + sum(v >= np.float32(values[target]) for v in others)
    found = ranking.ranks_of(
        np.array([values], np.float32), np.array([target]), [np.array(sorted(excluded), np.int32)]
    )
    assert found.tolist() == [expected]


def test_history_weights_fall_with_each_step_and_end_at_the_window() -> None:
    rows = block([[4, 2, 0], []])
    found = propagation.history_matrix(rows.column("codes"), rows.column("weights"), 5, decay=0.5, window=2)
    np.testing.assert_allclose(found.toarray(), [[0, 0, 0.5, 0, 1], [0, 0, 0, 0, 0]])


def test_strongest_orders_by_value_then_code() -> None:
    codes, values = propagation.strongest(sparse.csr_matrix([[0.2, 0.9, 0.0, 0.9], [0, 0, 0, 0]]), 2)
    assert codes.to_pylist() == [[1, 3], []]
    assert values.to_pylist()[0] == pytest.approx([0.9, 0.9])


def test_sliced_batches_give_the_same_rows() -> None:
    rows = block([[1, 0], [0], [2]], [{2: 1.0}, {3: 1.0}, {0: 1.0}])
    weights = FusionWeights(0.2, 0.3, 0.1)
    whole = listed(rows, weights)
    assert listed(rows.slice(1, 1), weights) == [row for row in whole if row["user_id"] == "u1"]


def test_item_codes_do_not_depend_on_input_order() -> None:
    ids, order = sorted_item_ids(["b", "c", "a"])
    assert ids.tolist() == ["a", "b", "c"]
    assert order.tolist() == [2, 0, 1]


def test_embedding_matrix_of_a_sliced_column() -> None:
    lists = pa.array([[1.0, 0.0], [0.0, 1.0], [0.5, 0.5]], pa.list_(pa.float32()))
    np.testing.assert_allclose(embedding_matrix(lists.slice(1)), [[0, 1], [0.5, 0.5]])


def test_without_the_named_items_the_recommendation_loses_its_score() -> None:
    weights = FusionWeights(0.0, 0.0, 0.0)
    # d has 1 from b and .6 x .5 from a, which is a step older; c has .6 from a alone.
    d, c = listed(block([[1, 0]]), weights)[:2]
    assert (d["item_id"], d["because_items"]) == ("d", ["b", "a"])
    assert (c["item_id"], c["because_items"], c["score"]) == ("c", ["a"], pytest.approx(0.6 / 1.3, abs=1e-4))
    without = {row["item_id"]: row for row in listed(block([[1]]), weights)}
    assert without["c"]["score"] == pytest.approx(0, abs=1e-4)
    assert without["c"]["because_items"] == []


@given(st.integers(0, 10_000))
def test_interest_falls_with_the_named_items_whatever_the_graph(seed: int) -> None:
    rng = np.random.default_rng(seed)
    n, graph = 8, InteractionGraphSettings(window=4)

    def edges() -> sparse.csr_matrix:
        dense = rng.random((n, n)).astype(np.float32) * (rng.random((n, n)) < 0.4)
        np.fill_diagonal(dense, 0)
        return sparse.csr_matrix(dense)

    items = InterestModel(
        np.array(list("abcdefgh")),
        edges(),
        edges(),
        np.eye(n, dtype=np.float32),
        np.ones(n, np.float32),
        np.ones(n, bool),
    )
    weights = FusionWeights(float(rng.random()), 0.0, 0.0)
    history = rng.permutation(n)[: rng.integers(1, 6)].tolist()

    def interest(event_weights: list[float]) -> np.ndarray:
        """What reaches each item, before it is compared with the client's other items."""
        rows = block([history])
        place = rows.schema.get_field_index("weights")
        rows = rows.set_column(place, "weights", pa.array([event_weights], pa.list_(pa.float32())))
        interests = block_interests(rows, items, graph, OPTIMIZE, {weights.decay})
        semantic = weights.semantic * interests.semantic(weights.decay)
        return (interests.followed(weights.decay) + semantic)[0]

    (scored,) = scored_blocks(iter([block([history])]), items, weights, graph, OPTIMIZE)
    whole = interest([1.0] * len(history))
    for row in ranking.ranked_block(scored, items, weights, graph, n).to_pylist():
        target = "abcdefgh".index(row["item_id"])
        kept = [0.0 if "abcdefgh"[code] in row["because_items"] else 1.0 for code in history]
        left = interest(kept)[target]
        if row["because_items"]:
            assert left < whole[target]
        else:
            assert whole[target] == 0
