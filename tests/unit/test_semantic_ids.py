"""Semantic ids: unique, balanced, and the same whatever the order and the numbers of the items."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isrf_pipeline.generator.balance import balanced_assignment
from isrf_pipeline.generator.behaviour import behaviour_vectors, client_profiles_of_items, item_vectors
from isrf_pipeline.generator.semantic_ids import semantic_ids
from isrf_pipeline.generator.trie import trie_of


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 80), st.integers(1, 3), st.integers(2, 5), st.floats(1, 2), st.integers(0, 2**32 - 1))
def test_ids_are_unique_balanced_and_independent_of_order(
    n: int, levels: int, codes: int, slack: float, seed: int
) -> None:
    generator = np.random.default_rng(seed)
    vectors = generator.normal(size=(n, 4)).astype(np.float32)
    ids = semantic_ids(vectors, levels, codes, slack, 0)
    assert len(np.unique(ids, axis=0)) == n
    assert ids[:, :-1].max() < codes
    for level in range(levels):
        parents, parent, sizes = np.unique(ids[:, :level], axis=0, return_inverse=True, return_counts=True)
        for place in range(len(parents)):
            taken = np.bincount(ids[parent.reshape(-1) == place, level])
            assert taken.max() <= np.ceil(slack * sizes[place] / codes)
    mixed = generator.permutation(n)
    assert np.array_equal(semantic_ids(vectors[mixed], levels, codes, slack, 0), ids[mixed])


def test_items_alike_in_all_share_all_codes_but_the_last() -> None:
    vectors = np.array([[0, 1], [5, 0], [0, 1]], np.float32)
    ids = semantic_ids(vectors, 1, 2, 2.0, 0)
    assert ids[0, 0] == ids[2, 0] != ids[1, 0]
    assert sorted([ids[0, 1], ids[2, 1]]) == [0, 1]


def test_an_item_that_is_turned_away_takes_the_next_code() -> None:
    distances = np.array([[1.0, 2.0, 9.0], [0.5, 3.0, 9.0], [0.7, 0.9, 1.0]])
    found = balanced_assignment(distances, np.zeros(3, np.int64), np.array([1]))
    # Item 1 is nearest to code 0; item 2 then beats item 0 at code 1.
    assert found.tolist() == [2, 0, 1]
    apart = balanced_assignment(distances, np.array([0, 1, 2]), np.array([1, 1, 1]))
    assert apart.tolist() == [0, 0, 0]
    with pytest.raises(ValueError, match="more items than"):
        balanced_assignment(np.zeros((3, 2)), np.zeros(3, np.int64), np.array([1]))


def test_renumbered_items_and_reordered_clients_have_the_same_ids() -> None:
    generator = np.random.default_rng(5)
    n, clients = 40, 60
    meaning = generator.normal(size=(n, 8)).astype(np.float32)
    histories = [generator.choice(n, generator.integers(2, 7), replace=False) for _ in range(clients)]

    def ids(number: np.ndarray, order: np.ndarray) -> np.ndarray:
        codes = np.concatenate([number[histories[client]] for client in order]).astype(np.int32)
        lengths = np.array([len(histories[client]) for client in order])
        renumbered = np.empty_like(meaning)
        renumbered[number] = meaning
        behaviour = behaviour_vectors(codes, lengths, renumbered, 4, 0.75)
        return semantic_ids(item_vectors(renumbered, behaviour, 1.0), 2, 4, 1.5, 0)

    plain = ids(np.arange(n), np.arange(clients))
    number = generator.permutation(n)
    assert np.array_equal(ids(number, generator.permutation(clients))[number], plain)


def test_items_bought_together_have_like_behaviour() -> None:
    pairs = np.array([0, 1, 1, 0, 0, 1, 2, 3, 3, 2, 3, 2], np.int32)
    meaning = np.eye(5, dtype=np.float32)
    vectors = behaviour_vectors(pairs, np.full(6, 2), meaning, 2, 0.75)
    assert vectors[0] @ vectors[1] == pytest.approx(1, abs=1e-5)
    assert vectors[0] @ vectors[2] == pytest.approx(0, abs=1e-5)
    assert not vectors[4].any()


def test_profiles_of_the_clients_of_an_item_add_up() -> None:
    meaning = np.array([[1, 0], [0, 1], [0, 0]], np.float32)
    sums, clients = client_profiles_of_items(np.array([0, 1, 0], np.int32), np.array([2, 1]), meaning)
    assert sums.tolist() == [[1.5, 0.5], [0.5, 0.5], [0, 0]]
    assert clients.tolist() == [2, 1, 0]


def test_trie_holds_exactly_the_ids() -> None:
    ids = np.array([[1, 0, 0], [0, 2, 0], [1, 3, 0], [1, 3, 1]])
    trie = trie_of(ids)
    assert trie.sizes == [2, 3, 4]
    assert trie.children[0].tolist() == [[0, 1]]
    assert trie.children[1].tolist() == [[0, -1], [1, 2]]
    assert trie.children[2].tolist() == [[0, -1], [1, -1], [2, 3]]
    assert trie.leaves.tolist() == [1, 0, 2, 3]
    with pytest.raises(ValueError, match="share"):
        trie_of(np.zeros((2, 2), np.int64))


def test_levels_without_a_choice_are_left_out_of_the_trie() -> None:
    trie = trie_of(np.array([[2, 0, 1, 0], [0, 0, 4, 0], [2, 0, 3, 0]]))
    assert trie.sizes == [2, 3]
    assert trie.leaves.tolist() == [1, 0, 2]
    assert trie_of(np.zeros((1, 3), np.int64)).sizes == [1]
