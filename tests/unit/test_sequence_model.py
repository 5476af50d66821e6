"""The sequence model: numpy scores equal torch's, and training finds what follows what."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from isrf_pipeline.config.settings import SequenceSettings
from isrf_pipeline.sequences.model import SequenceModel, newest_steps
from isrf_pipeline.sequences.next_item import Phase
from isrf_pipeline.sequences.training import SequenceNetwork, _as_arrays, train_in_phases

SMALL = SequenceSettings(
    width=16, steps=4, epochs=1, further_epochs=1, batch=32, negatives=8, dropout=0.0, learning_rate=2e-2
)


def cycles(clients: int, items: int, length: int) -> Phase:
    """Every item is followed by the next one."""
    starts = np.random.default_rng(3).integers(0, items, clients)
    codes = (starts[:, None] + np.arange(length)[None, :]) % items
    return Phase(codes.ravel().astype(np.int32), np.full(clients, length), 12)


def test_scores_are_those_of_the_trained_network() -> None:
    meaning = np.random.default_rng(0).normal(size=(9, 5)).astype(np.float32)
    torch.manual_seed(1)
    network = SequenceNetwork(meaning, SMALL).eval()
    torch.nn.init.normal_(network.positions)
    histories = [[3, 1, 4, 7], [2, 8], [5]]
    codes = np.zeros((3, 4), np.int64)
    for row, history in enumerate(histories):
        codes[row, : len(history)] = history
    lengths = np.array([4, 2, 1])
    found = _as_arrays(network).states(codes, lengths)
    with torch.no_grad():
        states = network(torch.from_numpy(codes))
    expected = np.stack([states[row, length - 1].numpy() for row, length in enumerate(lengths)])
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_training_learns_what_follows_what() -> None:
    meaning = np.eye(10, dtype=np.float32)
    (model,) = train_in_phases([cycles(200, 10, 5)], meaning, SMALL)
    codes, lengths = newest_steps(np.array([4, 3, 2, 9], np.int32), np.array([3, 1]), model.steps)
    assert model.logits(codes, lengths).argmax(axis=1).tolist() == [5, 0]


def test_same_seed_gives_the_same_model_and_a_further_phase_another() -> None:
    meaning = np.eye(10, dtype=np.float32)
    phases = [cycles(50, 10, 4), cycles(50, 10, 5)]
    first, second = train_in_phases(phases, meaning, SMALL)
    again = train_in_phases(phases, meaning, SMALL)
    assert np.array_equal(first.items, again[0].items)
    assert np.array_equal(second.items, again[1].items)
    assert not np.array_equal(first.items, second.items)


def test_histories_too_short_to_learn_from_leave_a_model_that_scores() -> None:
    phase = Phase(np.array([1, 2], np.int32), np.array([1, 1]), 2)
    (model,) = train_in_phases([phase], np.eye(4, dtype=np.float32), SMALL)
    assert np.isfinite(model.logits(np.zeros((1, 4), np.int64), np.array([1]))).all()


def test_stored_model_is_the_same() -> None:
    (model,) = train_in_phases([cycles(20, 6, 3)], np.eye(6, dtype=np.float32), SMALL)
    again = SequenceModel.from_bytes(model.to_bytes())
    codes, lengths = np.array([[1, 2, 0, 0]]), np.array([2])
    assert np.array_equal(model.logits(codes, lengths), again.logits(codes, lengths))


def test_newest_steps_are_read_oldest_first() -> None:
    codes, lengths = newest_steps(np.array([5, 4, 3, 9], np.int32), np.array([3, 0, 1]), 2)
    assert lengths.tolist() == [2, 0, 1]
    assert codes.tolist() == [[4, 5], [0, 0], [9, 0]]


def test_clients_without_history_expect_nothing() -> None:
    (model,) = train_in_phases([cycles(20, 6, 3)], np.eye(6, dtype=np.float32), SMALL)
    assert model.logits(np.zeros((1, 4), np.int64), np.array([0])) == pytest.approx(0)
