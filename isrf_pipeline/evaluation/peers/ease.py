"""The peer ease: a linear item-item model in closed form (Steck, "Embarrassingly Shallow Autoencoders", WWW 2019)."""

from __future__ import annotations

import os

import numpy as np
from numpy.typing import NDArray

from isrf_pipeline.config.settings import EaseSettings
from isrf_pipeline.errors import ConfigurationError
from isrf_pipeline.evaluation.peers.histories import Histories, best_codes
from isrf_pipeline.graphs.inversion import invert_positive_definite

#: Clients that are scored at once: 50 MB of scores at 12,000 items.
_CLIENTS_OF_A_BLOCK = 1024


class Ease:
    """Weights that predict each item from a client's other items: ``B_ij = -P_ij / P_jj``, 0 on the diagonal.

    ``P = (X'X + ridge I)^-1`` with the binary client-item matrix ``X``, in float32; two dense (items, items)
    matrices at most, and time with the cube of the items.

    Parameters
    ----------
    settings
        Ridge, and the largest catalogue.
    """

    def __init__(self, settings: EaseSettings) -> None:
        self._settings = settings

    def check(self, n_items: int) -> None:
        """Refuse more items than ``max_items``: fewer of them would make a weaker peer than the one it is named after.

        Raises
        ------
        ConfigurationError
            Naming both numbers.
        """
        if n_items > self._settings.max_items:
            raise ConfigurationError(
                "evaluation.peers ease",
                f"inverts a dense matrix of all items, and {n_items:,} are more than"
                f" evaluation.ease.max_items ({self._settings.max_items:,})",
                f"leave ease out, or raise the bound where {8 * n_items**2 / 2**30:.0f} GiB are free",
            )

    def fit(self, training: Histories, n_items: int) -> None:
        """Solve for the weights."""
        self.weights = ease_weights(training, n_items, self._settings.ridge)

    def recommend(self, known: Histories, top_n: int) -> NDArray[np.int32]:
        """Add up the weights of what a client has."""
        owned = known.matrix(len(self.weights))
        lists = [np.empty((0, min(top_n, len(self.weights))), np.int32)]
        for start in range(0, owned.shape[0], _CLIENTS_OF_A_BLOCK):
            block = owned[start : start + _CLIENTS_OF_A_BLOCK]
            lists.append(best_codes(block @ self.weights, block, top_n))
        return np.concatenate(lists)


def ease_weights(training: Histories, n_items: int, ridge: float) -> NDArray[np.float32]:
    """(items, items) float32; row = item that a client has, column = item to recommend."""
    from threadpoolctl import threadpool_limits

    owned = training.matrix(n_items)
    gram = (owned.T @ owned).astype(np.float32).toarray()
    gram[np.diag_indices(n_items)] += ridge
    # Spark gives a worker one thread for numeric libraries; no other task of this stage wants the cores.
    with threadpool_limits(os.cpu_count() or 1, "blas"):
        # Symmetric, so the transpose is the same matrix in the row order that sparse products want.
        weights = invert_positive_definite(gram).T
    weights /= -np.diag(weights)[None, :]
    weights[np.diag_indices(n_items)] = 0
    return weights
