"""The map of profiles: its loss against values worked out by hand, its training, its way through bytes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from isrf_pipeline.alignment.model import ProfileMap
from isrf_pipeline.alignment.training import contrastive_loss, first_map, train_map
from isrf_pipeline.config.settings import AlignmentSettings

SETTINGS = AlignmentSettings(rank=4, batch=16, epochs=20, temperature=0.2, learning_rate=0.01)


def unit(rows: np.ndarray) -> np.ndarray:
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def sides(seed: int = 0, clients: int = 64, dimensions: int = 6) -> tuple[np.ndarray, np.ndarray]:
    """Explicit interest is what a fixed linear map makes of the profile."""
    generator = np.random.default_rng(seed)
    own = unit(generator.standard_normal((clients, dimensions)))
    return own, unit(own @ generator.standard_normal((dimensions, dimensions)))


def loss(implicit: np.ndarray, explicit: np.ndarray, temperature: float = 0.2) -> float:
    return float(contrastive_loss(torch.from_numpy(implicit), torch.from_numpy(explicit), temperature))


def test_loss_of_two_clients_by_hand() -> None:
    explicit = np.eye(2, dtype=np.float32)
    implicit = np.array([[0, 1], [1, 0]], np.float32)
    # Target of each row: softmax of (1, 0); what comes: softmax of (0, 1). Their divergence is
    # (p - q) * 1 with p = e / (1 + e), q = 1 - p. The only other client is certain on both sides.
    p = np.e / (1 + np.e)
    assert loss(implicit, explicit, 1.0) == pytest.approx(2 * p - 1, rel=1e-5)


@given(st.integers(0, 10_000), st.integers(2, 12))
def test_loss_is_zero_where_both_sides_agree_and_never_below(seed: int, clients: int) -> None:
    own, taught = sides(seed, clients)
    assert loss(own, own) == pytest.approx(0, abs=1e-5)
    assert loss(own, taught) >= -1e-5
    order = np.random.default_rng(seed).permutation(clients)
    assert loss(own[order], taught[order]) == pytest.approx(loss(own, taught), rel=1e-3, abs=1e-5)


def test_the_explicit_side_is_not_pulled() -> None:
    own, taught = (torch.from_numpy(side).requires_grad_() for side in sides())
    contrastive_loss(own, taught, 0.2).backward()
    assert own.grad is not None and float(own.grad.abs().max()) > 0
    assert taught.grad is None


def test_training_starts_at_the_identity_and_brings_the_sides_together() -> None:
    own, taught = sides()
    assert first_map(6, SETTINGS).apply(own) == pytest.approx(own, abs=1e-6)
    trained = train_map(own, taught, None, SETTINGS)
    assert trained.loss_after < 0.7 * trained.loss_before
    assert loss(trained.map.apply(own), taught) < 0.7 * loss(own, taught)
    further = train_map(own, taught, trained.map, SETTINGS)
    assert further.loss_before == pytest.approx(trained.loss_after)


def test_same_seed_same_map() -> None:
    own, taught = sides()
    first, second = (train_map(own, taught, None, SETTINGS) for _ in range(2))
    other = train_map(own, taught, None, SETTINGS.model_copy(update={"seed": 1}))
    assert np.array_equal(first.map.up, second.map.up)
    assert not np.array_equal(first.map.up, other.map.up)


def test_one_client_teaches_nothing() -> None:
    own, taught = sides(clients=1)
    trained = train_map(own, taught, None, SETTINGS)
    assert (trained.loss_before, trained.loss_after) == (0, 0)
    assert not trained.map.up.any()


def test_map_keeps_unit_length_and_zero_and_survives_bytes() -> None:
    generator = np.random.default_rng(0)
    there = ProfileMap(
        generator.standard_normal((5, 2)).astype(np.float32),
        generator.standard_normal((2, 5)).astype(np.float32),
    )
    profiles = np.vstack([unit(generator.standard_normal((3, 5))), np.zeros((1, 5), np.float32)])
    mapped = ProfileMap.from_bytes(there.to_bytes()).apply(profiles)
    assert np.linalg.norm(mapped, axis=1) == pytest.approx([1, 1, 1, 0], abs=1e-6)
    by_hand = profiles[0] + (profiles[0] @ there.down) @ there.up
    assert mapped[0] == pytest.approx(by_hand / np.linalg.norm(by_hand), abs=1e-6)


def test_who_else_is_in_the_batch_changes_no_profile() -> None:
    generator = np.random.default_rng(0)
    there = ProfileMap(
        generator.standard_normal((384, 64)).astype(np.float32) / 20,
        generator.standard_normal((64, 384)).astype(np.float32) / 20,
    )
    profiles = unit(generator.standard_normal((70, 384)))
    together = there.apply(profiles)
    for rows in (1, 3, 64):
        assert np.array_equal(there.apply(profiles[:rows]), together[:rows])
