"""What clients' histories say of items: the behaviour behind semantic ids, and the interest of who else has an item."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from isrf_pipeline.generator.semantic_ids import content_order

_DAMPING = 5.0
_WINDOW = 5
_POWER_STEPS = 4


def behaviour_vectors(
    codes: NDArray[np.int32],
    lengths: NDArray[np.int64],
    meaning: NDArray[np.float32],
    width: int,
    decay: float,
) -> NDArray[np.float32]:
    """Unit vectors of items out of who stands beside whom in histories.

    The largest eigenvectors of the symmetric item-item matrix of steps within a window, each side divided by
    ``sqrt(degree + 5)``, by subspace iteration (Halko et al., 2011). It starts from the items' meaning and works on
    items in the order of their content, so that the result does not depend on how items are numbered.

    Parameters
    ----------
    codes
        Item codes of all histories, one after the other, each oldest first.
    lengths
        (clients,) length of each history.
    meaning
        (items, dimensions) embeddings of the items' texts.
    width
        Dimensions of the result, at most.
    decay
        Weight of one more step between two items.

    Returns
    -------
    ndarray
        (items, width) float32, zero for an item that stands beside none.
    """
    n = len(meaning)
    owner = np.repeat(np.arange(len(lengths)), lengths)
    beside = sparse.csr_matrix((n, n))
    for gap in range(1, _WINDOW + 1):
        same = owner[gap:] == owner[:-gap]
        pairs = (codes[:-gap][same], codes[gap:][same])
        # Multiples of 2^-12 add up exactly in any order.
        weight = round(decay ** (gap - 1) * 4096) / 4096
        beside = beside + sparse.csr_matrix((np.full(len(pairs[0]), weight), pairs), shape=(n, n))
    beside = (beside + beside.T).tocsr()
    degree = np.asarray(beside.sum(axis=1)).ravel()
    order = content_order(degree, meaning)
    beside = beside[order][:, order].tocsr()
    beside.sort_indices()
    scale = sparse.diags(1 / np.sqrt(degree[order] + _DAMPING))
    matrix = (scale @ beside @ scale).tocsr()
    basis = _orthonormal(np.asarray(meaning, np.float64)[order])
    for _ in range(_POWER_STEPS):
        # Plus the identity: large eigenvalues of either sign, of which the positive ones tell of nearness.
        basis = _orthonormal(matrix @ basis + basis)
    values, rotation = np.linalg.eigh(basis.T @ (matrix @ basis))
    largest = np.argsort(-values)[:width]
    vectors = (basis @ rotation[:, largest]) * np.sqrt(np.maximum(values[largest], 0))
    vectors[degree[order] == 0] = 0
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    result = np.zeros((n, width), np.float32)
    result[order, : vectors.shape[1]] = vectors / np.maximum(norms, 1e-12)
    return result


def _orthonormal(columns: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(np.linalg.qr(columns)[0])


def item_vectors(
    meaning: NDArray[np.float32], behaviour: NDArray[np.float32], weight: float
) -> NDArray[np.float32]:
    """(items, dimensions) what is quantised: centred unit meaning beside behaviour times its weight."""
    centred = meaning - meaning.mean(axis=0, dtype=np.float64)
    centred /= np.maximum(np.linalg.norm(centred, axis=1, keepdims=True), 1e-12)
    # Rounded: the mean over all items differs in its last digits by their order.
    return np.round(np.hstack([centred, weight * behaviour]), 5).astype(np.float32)


def client_profiles_of_items(
    codes: NDArray[np.int32], lengths: NDArray[np.int64], meaning: NDArray[np.float32]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Sum of the profiles of each item's clients, a profile being the mean meaning of a client's items.

    Parameters
    ----------
    codes, lengths
        As for :func:`behaviour_vectors`.
    meaning
        (items, dimensions).

    Returns
    -------
    tuple of ndarray
        (items, dimensions) sums and (items,) how many clients each is over.
    """
    owner = np.repeat(np.arange(len(lengths)), lengths)
    has = sparse.csr_matrix(
        (np.ones(len(codes), np.float32), (owner, codes)), shape=(len(lengths), len(meaning))
    )
    sizes = np.maximum(np.asarray(has.sum(axis=1)), 1)
    profiles = (has @ meaning) / sizes
    counts = np.asarray(has.sum(axis=0)).ravel()
    return np.asarray(has.T @ profiles, np.float32), counts.astype(np.float32)
