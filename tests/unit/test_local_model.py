"""The item-item model solved item by item: with all neighbours it is the closed form, with few nearly."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from isrf_pipeline.config.settings import InteractionGraphSettings
from isrf_pipeline.graphs.item_model import kernel_factor, solve_closed_form
from isrf_pipeline.graphs.local_model import LocalProblem, columns_of, strongest_entries
from isrf_pipeline.graphs.moments import SequenceMoments, moments_of

SETTINGS = InteractionGraphSettings(window=3, decay=0.5, edges_per_item=500, ridge=2.0, semantic_weight=1.5)


def problem(n_items: int, clients: int, seed: int) -> tuple[SequenceMoments, np.ndarray]:
    """Histories that walk through groups of items, and a kernel in which a group's items are alike."""
    rng = np.random.default_rng(seed)
    groups = rng.permutation(n_items) % max(1, n_items // 12)
    histories = []
    for _ in range(clients):
        own = np.flatnonzero(groups == rng.integers(groups.max() + 1))
        mixed = np.concatenate([rng.permutation(own)[:6], rng.integers(0, n_items, 2)])
        histories.append(rng.permutation(np.unique(mixed)))
    lengths = np.array([len(history) for history in histories])
    codes = np.concatenate(histories).astype(np.int32)
    vectors = np.eye(groups.max() + 1)[groups] + 0.3 * rng.standard_normal((n_items, groups.max() + 1))
    moments = SequenceMoments(*moments_of(codes, lengths, n_items, SETTINGS.window, SETTINGS.decay))
    return moments, kernel_factor([(vectors.astype(np.float32), 1.0)])


def solved(moments: SequenceMoments, kernel: np.ndarray, neighbours: int) -> np.ndarray:
    with_neighbours = SETTINGS.model_copy(update={"local_neighbours": neighbours})
    everything = LocalProblem.of(moments, kernel, with_neighbours)
    solution = np.zeros((len(kernel), len(kernel)), np.float32)
    targets = np.arange(len(kernel))
    for target, (sources, weights) in zip(
        targets, columns_of(everything, targets, with_neighbours), strict=True
    ):
        solution[sources, target] = weights
    return solution


@given(st.integers(2, 25), st.integers(1, 30), st.integers(0, 5))
@settings(max_examples=20)
def test_over_all_items_it_is_the_closed_form(n_items: int, clients: int, seed: int) -> None:
    moments, kernel = problem(n_items, clients, seed)
    expected = solve_closed_form(moments, kernel, SETTINGS).toarray()
    np.testing.assert_allclose(solved(moments, kernel, n_items), expected, atol=2e-4)


def test_over_few_neighbours_it_is_nearly_the_closed_form() -> None:
    moments, kernel = problem(200, 600, 1)
    exact = solve_closed_form(moments, kernel, SETTINGS).toarray()
    differences = [np.abs(solved(moments, kernel, count) - exact).sum() / exact.sum() for count in (20, 80)]
    # These items have little to tell them apart: a tenth of them holds half of the weight, two fifths five sixths.
    assert differences[1] < 0.2 < differences[0] < 0.6
    strongest = np.argsort(-exact, axis=1)[:, :10]
    near = np.argsort(-solved(moments, kernel, 80), axis=1)[:, :10]
    shared = [len(set(one) & set(other)) / 10 for one, other in zip(strongest, near, strict=True)]
    assert np.mean(shared) > 0.93


def test_neighbours_are_half_by_behaviour_and_half_by_meaning() -> None:
    # Item 0 goes with 1 and 2 in histories and is like 3 and 4; the rest has nothing to do with it.
    codes = np.array([0, 1, 0, 2, 0, 1, 0, 2, 5, 6], np.int32)
    moments = SequenceMoments(*moments_of(codes, np.full(5, 2), 8, SETTINGS.window, SETTINGS.decay))
    vectors = np.zeros((8, 3), np.float32)
    vectors[[0, 3, 4]] = [1, 0, 0]
    vectors[[5, 6]] = [0, 1, 0]
    four = SETTINGS.model_copy(update={"local_neighbours": 4})
    ((sources, weights),) = columns_of(LocalProblem.of(moments, vectors, four), np.array([0]), four)
    assert sources.tolist() == [1, 2, 3, 4]
    assert np.all(weights > 0)


def test_strongest_entries_by_hand() -> None:
    matrix = sparse.csr_matrix(np.array([[3, 1, 2, 0], [1, 1, 1, 0], [0, 0, 0, 4]], np.float32))
    expected = [[3, 0, 2, 0], [1, 1, 0, 0], [0, 0, 0, 4]]
    np.testing.assert_array_equal(strongest_entries(matrix, 2).toarray(), expected)


def test_an_unsolvable_regression_is_named() -> None:
    moments, kernel = problem(12, 10, 0)
    sums = LocalProblem.of(moments, kernel, SETTINGS)
    negative = dataclasses.replace(sums, gram=sums.gram - 1e3 * sparse.identity(12, np.float32, format="csr"))
    with pytest.raises(np.linalg.LinAlgError, match="item 0"):
        next(iter(columns_of(negative, np.array([0]), SETTINGS)))
