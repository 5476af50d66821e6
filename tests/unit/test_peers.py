"""Peers that are fitted on one machine: answers worked out by hand, lists without known items, the same list again."""

from __future__ import annotations

import os
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse

from isrf_pipeline.config.settings import (
    Bm25Settings,
    EaseSettings,
    EvaluationSettings,
    ImplicitAlsSettings,
    SasRecSettings,
)
from isrf_pipeline.errors import ConfigurationError, EnvironmentMismatchError
from isrf_pipeline.evaluation.peers import PEERS, registry, require_packages
from isrf_pipeline.evaluation.peers.ease import Ease, ease_weights
from isrf_pipeline.evaluation.peers.histories import NO_ITEM, Histories, Recommender, best_codes
from isrf_pipeline.evaluation.peers.implicit_models import Bm25, ImplicitAls
from isrf_pipeline.evaluation.peers.sasrec import SasRec

SMALL_SASREC = SasRecSettings(
    width=16, layers=1, heads=1, steps=6, epochs=12, batch=32, negatives=8, dropout=0.0, learning_rate=5e-3
)
RECOMMENDERS: dict[str, Callable[[], Recommender]] = {
    "bm25": lambda: Bm25(Bm25Settings()),
    "implicit_als": lambda: ImplicitAls(ImplicitAlsSettings(factors=4, iterations=3)),
    "ease": lambda: Ease(EaseSettings(ridge=1.0)),
    "sasrec": lambda: SasRec(SMALL_SASREC.model_copy(update={"epochs": 2})),
}


@pytest.fixture(autouse=True)
def one_core(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tens of rows are slower on several cores, above all where others want them too."""
    monkeypatch.setattr(os, "cpu_count", lambda: 1)


def histories(*lists: list[int]) -> Histories:
    codes = np.array([code for items in lists for code in items], np.int32)
    return Histories(codes, np.array([len(items) for items in lists], np.int64))


def drawn_histories(clients: int, items: int, seed: int) -> list[list[int]]:
    generator = np.random.default_rng(seed)
    return [generator.permutation(items)[: generator.integers(2, items - 1)].tolist() for _ in range(clients)]


def cycles(clients: int, items: int, length: int) -> Histories:
    """Every item is followed by the next one, or with every second client by the one before."""
    starts = np.random.default_rng(3).integers(0, items, clients)
    ways = np.where(np.arange(clients) % 2, 1, -1)
    codes = (starts[:, None] + ways[:, None] * np.arange(length)[None, :]) % items
    return Histories(codes.ravel().astype(np.int32), np.full(clients, length))


def test_the_matrix_leaves_the_order_of_histories_alone() -> None:
    found = histories([4, 1, 3], [2])
    dense = found.matrix(5).toarray()
    assert dense.tolist() == [[0, 1, 0, 1, 1], [0, 0, 1, 0, 0]]
    assert found.codes.tolist() == [4, 1, 3, 2]


def test_ease_by_hand() -> None:
    # X'X + I = [[3, 1], [1, 2]], its inverse [[2, -1], [-1, 3]] / 5.
    weights = ease_weights(histories([0, 1], [0]), 2, ridge=1.0)
    np.testing.assert_allclose(weights, [[0, 1 / 3], [1 / 2, 0]], rtol=1e-6)


def test_ease_equals_the_formula_and_lists_by_it() -> None:
    lists = drawn_histories(30, 9, seed=1)
    training = histories(*lists)
    dense = training.matrix(9).toarray().astype(np.float64)
    inverse = np.linalg.inv(dense.T @ dense + 2.5 * np.eye(9))
    expected = -inverse / np.diag(inverse)[None, :]
    np.fill_diagonal(expected, 0)
    ease = Ease(EaseSettings(ridge=2.5))
    ease.fit(training, 9)
    np.testing.assert_allclose(ease.weights, expected, atol=1e-5)
    (found,) = ease.recommend(histories([4, 2]), 3)
    scores = expected[4] + expected[2]
    scores[[4, 2]] = -np.inf
    assert found.tolist() == np.argsort(-scores)[:3].tolist()


def test_ease_refuses_more_items_than_its_bound() -> None:
    ease = Ease(EaseSettings(max_items=10))
    ease.check(10)
    with pytest.raises(ConfigurationError, match=r"11 are more than evaluation\.ease\.max_items \(10\)"):
        ease.check(11)


def test_bm25_equals_the_formula() -> None:
    training = histories([0, 1, 2], [0, 1], [0, 3], [1, 2, 4], [3, 4], [0, 5])
    owned = training.matrix(6).toarray().astype(np.float64)
    # One row an item: log(items / (1 + items of the client)), damped by the item's clients against their mean.
    rarity = np.log(6) - np.log1p(owned.sum(axis=1))
    clients = owned.sum(axis=0)
    damping = 0.25 + 0.75 * clients / clients.mean()
    weighted = owned.T * (1.2 + 1) / (1.2 * damping[:, None] + 1) * rarity[None, :]
    scores = (weighted @ weighted.T)[[1, 3]].sum(axis=0)
    scores[[1, 3]] = -np.inf
    bm25 = Bm25(Bm25Settings(neighbours=6, k1=1.2, b=0.75))
    bm25.fit(training, 6)
    (found,) = bm25.recommend(histories([1, 3]), 3)
    assert found.tolist() == np.argsort(-scores)[:3].tolist()


def test_factors_find_what_goes_together() -> None:
    # Two tastes of four items each; every client lacks one item of his own.
    lists = [[item for item in range(4) if item != k % 4] for k in range(20)]
    lists += [[4 + item for item in range(4) if item != k % 4] for k in range(20)]
    als = ImplicitAls(ImplicitAlsSettings(factors=2, iterations=10))
    als.fit(histories(*lists), 8)
    assert als.recommend(histories([0, 1, 2], [4, 5, 7]), 1).ravel().tolist() == [3, 6]


def test_sasrec_learns_what_follows_what() -> None:
    sasrec = SasRec(SMALL_SASREC)
    sasrec.fit(cycles(200, 10, 5), 10)
    # The order decides, not the set: the first two clients have the same three.
    assert sasrec.recommend(histories([2, 3, 4], [4, 3, 2], [8, 9]), 1).ravel().tolist() == [5, 1, 0]


@pytest.mark.parametrize("name", RECOMMENDERS)
def test_no_list_holds_known_items_or_an_item_twice(name: str) -> None:
    lists = drawn_histories(25, 12, seed=2)
    recommender = RECOMMENDERS[name]()
    recommender.fit(histories(*lists), 12)
    # The first client has all but one item: his list ends early.
    asked = [list(range(11)), *lists]
    found = recommender.recommend(histories(*asked), 12)
    assert len(found) == len(asked)
    for row, known in zip(found.tolist(), asked, strict=True):
        listed = [code for code in row if code != NO_ITEM]
        assert set(listed).isdisjoint(known)
        assert len(set(listed)) == len(listed)
    assert found[0].tolist().count(NO_ITEM) >= 11


@pytest.mark.parametrize("name", RECOMMENDERS)
def test_same_seed_gives_the_same_lists(name: str) -> None:
    training = histories(*drawn_histories(40, 15, seed=5))
    found = []
    for _ in range(2):
        recommender = RECOMMENDERS[name]()
        recommender.fit(training, 15)
        found.append(recommender.recommend(training, 5))
    np.testing.assert_array_equal(found[0], found[1])


@given(
    st.lists(st.lists(st.integers(0, 3), min_size=5, max_size=5), min_size=1, max_size=4),
    st.lists(st.sets(st.integers(0, 4)), min_size=4, max_size=4),
    st.integers(1, 7),
)
def test_best_codes_equal_a_sort(rows: list[list[int]], owned: list[set[int]], top_n: int) -> None:
    scores = np.array(rows, np.float32)
    known = np.zeros_like(scores)
    for row in range(len(rows)):
        known[row, list(owned[row])] = 1
    found = best_codes(scores.copy(), sparse.csr_matrix(known), top_n)
    for row, codes in enumerate(found.tolist()):
        listed = [code for code in codes if code != NO_ITEM]
        values = sorted((rows[row][code] for code in range(5) if not known[row, code]), reverse=True)
        assert [rows[row][code] for code in listed] == values[:top_n]
        assert not known[row, listed].any()


def test_peers_of_a_missing_package_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry.importlib.util, "find_spec", lambda name: None)
    require_packages(["popularity", "mllib_als", "ease"])
    with pytest.raises(EnvironmentMismatchError, match=r"peer bm25: needs the package implicit"):
        require_packages(["popularity", "bm25"])


def test_every_peer_can_be_asked_for_by_configuration() -> None:
    assert EvaluationSettings(peers=list(PEERS)).peers == list(PEERS)
