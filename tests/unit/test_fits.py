"""Fit: the share of the catalogue that a target outranks, against values worked out by hand."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse

from isrf_pipeline.config.settings import InteractionGraphSettings, OptimizeSettings
from isrf_pipeline.interests.blocks import scored_blocks
from isrf_pipeline.interests.fits import FitTarget, fits_of_block, shares_outranked
from isrf_pipeline.interests.model import InterestModel
from isrf_pipeline.interests.propagation import FusionWeights

GRAPH = InteractionGraphSettings(window=3)
WEIGHTS = FusionWeights(semantic=0.5, implicit=0.0, feedback=0.0, decay=0.5)


def model(d_near_b: float = 0.0) -> InterestModel:
    """Six items: a is followed by c (4) and d (1), b by d (2); e is near a in meaning; f is not available."""
    followed = np.zeros((6, 6), np.float32)
    followed[0, 2], followed[0, 3], followed[1, 3] = 4, 1, 2
    semantic = np.zeros((6, 6), np.float32)
    semantic[0, 4], semantic[1, 3] = 1, d_near_b
    if d_near_b:
        followed[1, 3] = 0
    return InterestModel(
        np.array(["a", "b", "c", "d", "e", "f"]),
        sparse.csr_matrix(followed),
        sparse.csr_matrix(semantic),
        np.eye(6, dtype=np.float32),
        np.zeros(6, np.float32),
        np.array([True, True, True, True, True, False]),
    )


def rows_of(
    histories: list[list[int]],
    targets: list[FitTarget],
    excluded: list[list[int]] | None = None,
    asked: list[list[int]] | None = None,
    groups: list[list[int]] | None = None,
    weights: FusionWeights = WEIGHTS,
    items: InterestModel | None = None,
) -> list[dict[str, object]]:
    items = items or model()
    groups = groups or [[] for _ in histories]
    ints = pa.list_(pa.int32())
    batch = pa.RecordBatch.from_pydict(
        {
            "user_id": [f"u{place}" for place in range(len(histories))],
            "codes": pa.array(histories, ints),
            "weights": pa.array([[1.0] * len(codes) for codes in histories], pa.list_(pa.float32())),
            "group_codes": pa.array(groups, ints),
            "group_values": pa.array([[1.0] * len(codes) for codes in groups], pa.list_(pa.float32())),
            "excluded": pa.array(excluded or [[] for _ in histories], ints),
            "targets": pa.array(asked or [[*range(len(targets))] for _ in histories], ints),
        }
    )
    found = []
    for block in scored_blocks(iter([batch]), items, weights, GRAPH, OptimizeSettings()):
        for part in fits_of_block(block, items, GRAPH, targets, only_available=True):
            found += part.to_pylist()
    return found


def target(*codes: int, weights: tuple[float, ...] | None = None, least: float = 0.0) -> FitTarget:
    return FitTarget(np.array(codes, np.int64), np.array(weights or [1.0] * len(codes)), least)


def test_one_article_by_hand() -> None:
    # History a: c scores 4/4, d 1/4, e .5 * 1/1, a, b and f nothing. Of the four other available articles ...
    (c,) = rows_of([[0]], [target(2)])
    (d,) = rows_of([[0]], [target(3)])
    (b,) = rows_of([[0]], [target(1)])
    # ... c outranks all, d two (a and b), and b ties with a alone.
    assert (c["fit"], d["fit"], b["fit"]) == (1.0, 0.5, 0.125)
    assert (c["item_id"], c["because_items"], c["explicit_share"]) == ("c", ["a"], 1.0)
    # Nothing speaks for b, so no share of anything does.
    assert (b["because_items"], b["explicit_share"], b["implicit_share"]) == ([], 0.0, 0.0)


def test_a_target_is_the_weighted_mean_and_names_its_best_article() -> None:
    (row,) = rows_of([[0]], [target(3, 2, weights=(3.0, 1.0))])
    assert row["fit"] == pytest.approx((3 * 0.5 + 1.0) / 4)
    assert (row["item_id"], row["item_fit"]) == ("c", 1.0)


def test_the_best_article_alone_can_be_what_counts() -> None:
    best = FitTarget(np.array([3, 2], np.int64), np.array([3.0, 1.0]), by_best=True)
    (row,) = rows_of([[0]], [best])
    assert (row["fit"], row["item_id"]) == (1.0, "c")
    # The best is bought: what is left counts.
    (row,) = rows_of([[0]], [best], excluded=[[2]])
    assert row["fit"] == pytest.approx(2 / 3)


def test_what_a_client_has_bought_counts_neither_way() -> None:
    # c is bought: d is judged alone, among a, b and e: ahead of two of three.
    (row,) = rows_of([[0]], [target(2, 3)], excluded=[[2]])
    assert row["fit"] == pytest.approx(2 / 3) and row["item_id"] == "d"
    (nothing,) = rows_of([[0]], [target(2, 3)], excluded=[[2, 3]])
    assert nothing["fit"] is None and nothing["item_id"] is None


def test_an_article_that_is_not_available_yet_can_be_the_target_and_is_nobodys_rival() -> None:
    (row,) = rows_of([[0]], [target(5)])
    # f ties with a and b, and c, d and e are ahead of it: one of five.
    assert row["fit"] == pytest.approx(0.2)


def test_clients_are_asked_for_their_own_targets_alone() -> None:
    rows = rows_of([[0], [1]], [target(2), target(3)], asked=[[1], [0, 1]])
    assert [(row["user_id"], row["target"]) for row in rows] == [("u1", 0), ("u0", 1), ("u1", 1)]


def test_grounds_are_given_from_the_least_fit_on() -> None:
    rows = rows_of([[0], [1]], [target(2, least=0.6)])
    assert [row["fit"] for row in rows] == [1.0, 0.375]
    assert [(row["item_id"], row["because_items"]) for row in rows] == [("c", ["a"]), (None, None)]


def test_equal_articles_are_named_by_weight_then_code() -> None:
    (row,) = rows_of([[0]], [target(0, 1)])
    assert row["item_id"] == "a"
    (row,) = rows_of([[0]], [target(0, 1, weights=(1.0, 2.0))])
    assert row["item_id"] == "b"


def test_similar_clients_are_the_implicit_share() -> None:
    weights = FusionWeights(semantic=0.0, implicit=0.25, feedback=0.0, decay=0.5)
    (row,) = rows_of([[0]], [target(3)], groups=[[3]], weights=weights)
    assert (row["explicit_share"], row["implicit_share"]) == (0.5, 0.5)


def test_without_the_named_article_of_the_history_the_fit_falls() -> None:
    # Newest first: b, then a, which weighs half: d has 2/2.5 of b, 0.5/2.5 of a.
    (row,) = rows_of([[1, 0]], [target(3)])
    assert row["because_items"] == ["b", "a"] and row["fit"] == 1.0
    (without,) = rows_of([[0]], [target(3)])
    assert without["fit"] < row["fit"]


def test_both_kinds_of_edges_are_weighed_as_in_the_score() -> None:
    # d follows a with 1 of the largest 4 and is near b, half as old, with .5 of the largest 1, times .9: b says more.
    # The weights of d alone, 1 and .5, would say that a does.
    weights = FusionWeights(semantic=0.9, implicit=0.0, feedback=0.0, decay=0.5)
    (row,) = rows_of([[0, 1]], [target(3)], weights=weights, items=model(d_near_b=1.0))
    assert row["because_items"] == ["b", "a"]


@given(st.integers(0, 10_000))
def test_shares_are_areas_under_the_curve(seed: int) -> None:
    rng = np.random.default_rng(seed)
    scores = rng.integers(0, 4, (3, 7)).astype(np.float32)
    compared = rng.random((3, 7)) < 0.7
    codes = np.unique(rng.integers(0, 7, 3))
    shares = shares_outranked(scores, compared, codes)
    for row in range(3):
        for place, code in enumerate(codes):
            others = [j for j in range(7) if compared[row, j] and j != code]
            points = [
                1.0 if scores[row, j] < scores[row, code] else 0.5 * (scores[row, j] == scores[row, code])
                for j in others
            ]
            assert shares[row, place] == pytest.approx(np.mean(points) if points else 0.5)
