"""Which of the model's words enter the item-item model, with models and gains by hand."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pyarrow as pa
import pytest
from scipy import sparse

from isrf_pipeline.graphs.field_choice import choose_fields, held_out_gains

OPTIONS = {"feature": [0.0, 0.5, 1.0], "tags": [0.0, 0.35]}
#: Gains of four clients by (weight of feature, weight of tags).
GAINS = {
    (0, 0): [0.5, 0.5, 0.5, 0.5],
    (0.5, 0): [0.6, 0.6, 0.6, 0.6],
    (1.0, 0): [0.7, 0.6, 0.6, 0.6],
}


def solve(weights: Mapping[str, float]) -> sparse.csr_matrix:
    """A model that carries its weights."""
    return sparse.csr_matrix([[weights.get("feature", 0.0), weights.get("tags", 0.0)]])


def chosen(gains: dict[tuple[float, float], list[float]]) -> tuple[list[float], dict[str, float]]:
    def measured(model: sparse.csr_matrix) -> np.ndarray:
        feature, tags = model.toarray()[0]
        return np.array(gains[feature, tags])

    model, fields = choose_fields(OPTIONS, solve, measured)
    return model.toarray()[0].tolist(), {field.field: field.weight for field in fields}


def test_each_part_takes_the_weight_that_validation_prefers() -> None:
    gains = GAINS | {(1.0, 0.35): [0.8, 0.7, 0.7, 0.7]}
    assert chosen(gains) == ([1.0, 0.35], {"feature": 1.0, "tags": 0.35})


@pytest.mark.parametrize("with_tags", [[0.6, 0.5, 0.5, 0.5], [1.2, 0.3, 0.5, 0.7]])
def test_a_part_that_harms_or_helps_by_no_more_than_noise_is_left_out(with_tags: list[float]) -> None:
    assert chosen(GAINS | {(1.0, 0.35): with_tags}) == ([1.0, 0.0], {"feature": 1.0, "tags": 0.0})


def test_what_was_measured_of_a_part_left_out_is_told() -> None:
    gains = {(0, 0): [0.5, 0.5], (0.5, 0): [0.4, 0.5], (1.0, 0): [0.3, 0.5], (0, 0.35): [0.6, 0.6]}

    def measured(model: sparse.csr_matrix) -> np.ndarray:
        feature, tags = model.toarray()[0]
        return np.array(gains[feature, tags])

    _, (feature, tags) = choose_fields(OPTIONS, solve, measured)
    # The better of both weights lost .05 in the mean; its standard error is .05 / sqrt(2).
    assert (feature.weight, feature.gain) == (0.0, pytest.approx(-0.05))
    assert feature.error == pytest.approx(0.03536, abs=1e-5)
    assert (tags.weight, tags.gain) == (0.35, pytest.approx(0.1))


def test_a_larger_gain_within_the_noise_does_not_push_out_one_that_is_sure() -> None:
    gains = GAINS | {(1.0, 0): [1.2, 0.2, 0.5, 0.6], (0.5, 0.35): [0.6, 0.6, 0.6, 0.6]}
    assert chosen(gains) == ([0.5, 0.0], {"feature": 0.5, "tags": 0.0})


def test_without_validation_each_part_takes_its_smallest_weight() -> None:
    model, fields = choose_fields(OPTIONS, solve, None)
    assert model.toarray()[0].tolist() == [0.5, 0.35]
    assert [field.gain for field in fields] == [None, None]


def test_gains_rank_the_held_out_item_among_all_others() -> None:
    followed = np.zeros((13, 13), np.float32)
    followed[0, 1:] = np.arange(12, 0, -1)
    followed[0, 2] = followed[0, 1]
    judges = pa.table(
        {
            "codes": pa.array([[0], [0, 1], [0], []], pa.list_(pa.int32())),
            "weights": pa.array([[1.0], [1.0, 1.0], [1.0], []], pa.list_(pa.float32())),
            "target": pa.array([1, 3, 12, 5], pa.int32()),
        }
    )
    gains = held_out_gains(judges, sparse.csr_matrix(followed), decay=0.6, window=10)
    # A tie counts against: rank 2. Item 1 is history: behind item 2 alone, rank 2. Rank 12 and no history: nothing.
    assert gains == pytest.approx([1 / np.log2(3), 1 / np.log2(3), 0, 0])
