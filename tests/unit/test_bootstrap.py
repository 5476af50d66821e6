"""Weights of the Poisson bootstrap."""

from __future__ import annotations

import numpy as np
import pytest

from isrf_pipeline.evaluation.bootstrap import poisson_weights


def test_weights_are_distributed_as_poisson_of_mean_1() -> None:
    clients = np.random.default_rng(0).integers(-(2**62), 2**62, 2000)
    weights = poisson_weights(clients, 200)
    assert weights.mean() == pytest.approx(1, abs=0.01)
    assert weights.var() == pytest.approx(1, abs=0.02)
    assert (weights == 0).mean() == pytest.approx(np.exp(-1), abs=0.005)
    # Neither clients nor resamples depend on each other.
    centred = weights - weights.mean()
    assert abs((centred[:, :-1] * centred[:, 1:]).mean()) < 0.01
    assert abs((centred[:-1] * centred[1:]).mean()) < 0.01


def test_a_client_has_the_same_weights_whoever_else_is_there() -> None:
    together = poisson_weights(np.array([5, -7, 9]), 50)
    assert np.array_equal(together[1], poisson_weights(np.array([-7]), 50)[0])
