"""Measures of exposure and diversity: values worked out by hand, and what must hold for any lists."""

from __future__ import annotations

import math

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given

from isrf_pipeline.evaluation.beyond_accuracy import exposure_measures, list_diversity

COUNTS = st.lists(st.integers(0, 50), min_size=2, max_size=30).map(np.array)


def test_exposure_by_hand() -> None:
    # Four items with 0, 1, 1 and 2 of four places; 8 clients, of whom 0, 1, 4 and 8 have them.
    found = exposure_measures(np.array([0, 1, 1, 2]), np.array([0, 1, 4, 8]), 8)
    assert found["coverage"] == 3 / 4
    # Shares 0, 1/4, 1/4, 1/2 with factors -3, -1, 1, 3: 3/2 over 3.
    assert found["gini"] == pytest.approx(1 / 2)
    # Three bits, one bit, and twice none.
    assert found["novelty"] == pytest.approx(1.0)


def test_an_item_that_nobody_has_is_as_new_as_one_that_a_single_client_has() -> None:
    assert exposure_measures(np.array([3, 0]), np.array([0, 5]), 16)["novelty"] == 4.0


def test_nothing_shown_has_no_gini_and_no_novelty() -> None:
    assert exposure_measures(np.array([0, 0]), np.array([1, 1]), 2) == {"coverage": 0.0}


@given(COUNTS)
def test_gini_lies_between_even_and_all_for_one(exposure: np.ndarray) -> None:
    even = np.full(len(exposure), 3)
    one = np.zeros(len(exposure), int)
    one[0] = 7
    holders = np.ones(len(exposure), int)
    assert exposure_measures(even, holders, 5)["gini"] == pytest.approx(0, abs=1e-12)
    assert exposure_measures(one, holders, 5)["gini"] == pytest.approx(1)
    if exposure.sum():
        assert -1e-12 <= exposure_measures(exposure, holders, 5)["gini"] <= 1 + 1e-12


@given(COUNTS, st.integers(2, 5), st.randoms(use_true_random=False))
def test_exposure_depends_on_shares_and_not_on_the_order_of_items(
    exposure: np.ndarray, factor: int, chance: object
) -> None:
    holders = np.arange(len(exposure))
    order = np.array(chance.sample(range(len(exposure)), len(exposure)))  # type: ignore[attr-defined]
    found = exposure_measures(exposure, holders, 40)
    assert exposure_measures(exposure[order] * factor, holders[order], 40) == pytest.approx(found)


def test_diversity_by_hand() -> None:
    half = math.sqrt(0.5)
    vectors = np.array([[1, 0], [0, 1], [half, half], [0, 0]], np.float32)
    codes = np.array([0, 1, 0, 1, 2, 0, 3, -1, 2, 2])
    owner = np.array([0, 0, 1, 1, 1, 2, 2, 2, 4, 4])
    found = list_diversity(codes, owner, 5, vectors)
    assert found[0] == pytest.approx(1)
    # Cosines of three pairs: 0, half, half.
    assert found[1] == pytest.approx(1 - 2 * half / 3)
    # One embedded item, and no item at all.
    assert math.isnan(found[2])
    assert math.isnan(found[3])
    assert found[4] == pytest.approx(0, abs=1e-6)


@given(st.integers(2, 6), st.integers(0, 10_000))
def test_diversity_is_one_less_the_mean_cosine_of_all_pairs(places: int, seed: int) -> None:
    vectors = np.random.default_rng(seed).normal(size=(8, 4)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    codes = np.random.default_rng(seed).permutation(8)[:places]
    cosine = vectors[codes] @ vectors[codes].T
    pairs = cosine[np.triu_indices(places, 1)]
    found = list_diversity(codes, np.zeros(places, int), 1, vectors)
    assert found[0] == pytest.approx(1 - pairs.mean(), abs=1e-5)
