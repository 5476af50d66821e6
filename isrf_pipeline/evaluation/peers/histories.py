"""Clients' items as arrays: what a peer that runs on one machine is fitted on and asked with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

#: Stands in a list where there is nothing more to recommend.
NO_ITEM = -1


@dataclass(frozen=True)
class Histories:
    """Distinct items of each client.

    Attributes
    ----------
    codes
        (events,) int32 item codes of all clients, one after the other, each oldest first.
    lengths
        (clients,) int64 items of each client.
    """

    codes: NDArray[np.int32]
    lengths: NDArray[np.int64]

    def matrix(self, n_items: int) -> sparse.csr_matrix:
        """(clients, items) float32, 1 where a client has an item; columns in order within a row."""
        indptr = np.concatenate([[0], np.cumsum(self.lengths)])
        ones = np.ones(len(self.codes), np.float32)
        # A copy: sorting columns in place would otherwise sort the histories themselves.
        matrix = sparse.csr_matrix((ones, self.codes, indptr), (len(self.lengths), n_items), copy=True)
        matrix.sort_indices()
        return matrix


class Recommender(Protocol):
    """A peer that is fitted on one machine.

    Item codes are numbers of hashes (see :func:`isrf_pipeline.evaluation.peers.lists.numbered`), so a recommender
    that puts the lower code first where scores are equal breaks ties at random.
    """

    def check(self, n_items: int) -> None:
        """Refuse a catalogue that is too large, before any work is done.

        Raises
        ------
        ConfigurationError
            Naming the bound that is passed.
        """

    def fit(self, training: Histories, n_items: int) -> None:
        """Learn from training events."""

    def recommend(self, known: Histories, top_n: int) -> NDArray[np.int32]:
        """(clients, at most top_n) codes, best first, none of ``known``, filled up with ``NO_ITEM``."""


def best_codes(scores: NDArray[np.float32], known: sparse.csr_matrix, top_n: int) -> NDArray[np.int32]:
    """Best items of each client that he does not have.

    Parameters
    ----------
    scores
        (clients, items); what a client has is overwritten.
    known
        (clients, items), non-zero where a client has an item.
    top_n
        Length of a list.

    Returns
    -------
    ndarray
        (clients, min(top_n, items)) int32, ``NO_ITEM`` where a client has all others.
    """
    rows = np.repeat(np.arange(known.shape[0]), np.diff(known.indptr))
    scores[rows, known.indices] = -np.inf
    count = min(top_n, scores.shape[1])
    if count == 0:
        return np.empty((len(scores), 0), np.int32)
    top = np.argpartition(-scores, count - 1, axis=1)[:, :count]
    values = np.take_along_axis(scores, top, axis=1)
    order = np.lexsort((top, -values), axis=1)
    top, values = np.take_along_axis(top, order, axis=1), np.take_along_axis(values, order, axis=1)
    return np.where(np.isneginf(values), NO_ITEM, top).astype(np.int32)
