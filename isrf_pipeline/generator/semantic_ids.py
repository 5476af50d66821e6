"""Semantic ids: each item as a few codes, found by residual quantisation of its meaning and behaviour.

Each level is a balanced k-means over what the levels before left unexplained (residual quantisation as in TIGER,
Rajput et al., NeurIPS 2023, with k-means in place of an autoencoder). Items are put in an order by their content
first, so that neither the order of the input nor identifiers have a say.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from isrf_pipeline.generator.balance import balanced_assignment

_ROUNDS = 8
#: Columns by which items are ordered before anything is summed.
_ORDER_COLUMNS = 16


def content_order(*parts: NDArray[np.float32]) -> NDArray[np.int64]:
    """Order of items by content alone: the position of the first item, of the second, and so on.

    Parameters
    ----------
    parts
        (items, ...) what is known of each item; items that all parts show alike are interchangeable.
    """
    columns = np.hstack([np.asarray(part, np.float64).reshape(len(part), -1) for part in parts])
    # Ranks of distinct rows would need all columns; the first few tell nearly all apart, the rest decides ties.
    head = np.lexsort(columns[:, :_ORDER_COLUMNS].T[::-1])
    ordered = columns[head, :_ORDER_COLUMNS]
    if np.all(np.any(ordered[1:] != ordered[:-1], axis=1)):
        return np.asarray(head, np.int64)
    return np.asarray(np.lexsort(columns.T[::-1]), np.int64)


def semantic_ids(
    vectors: NDArray[np.float32], levels: int, codes: int, slack: float, seed: int
) -> NDArray[np.int64]:
    """Quantise items.

    Parameters
    ----------
    vectors
        (items, dimensions) meaning and behaviour of each item, side by side.
    levels
        Codes of an id before the last one.
    codes
        Codes of each level.
    slack
        Items that share ``m`` siblings' codes are spread so that each next code takes at most
        ``ceil(slack * m / codes)`` of them.
    seed
        Of the starting centroids.

    Returns
    -------
    ndarray
        (items, levels + 1) codes; the last level numbers items that share all others, so that rows are unique. The
        same items have the same codes in whatever order they come, as far as their vectors differ.
    """
    n = len(vectors)
    ids = np.zeros((n, levels + 1), np.int64)
    if n == 0:
        return ids
    order = content_order(vectors)
    residual = np.asarray(vectors, np.float64)[order]
    ordered = np.zeros((n, levels + 1), np.int64)
    prefix = np.zeros(n, np.int64)
    generator = np.random.default_rng(seed)
    for level in range(levels):
        capacity = np.ceil(slack * np.bincount(prefix) / codes).astype(np.int64)
        assigned, centroids = _balanced_kmeans(residual, prefix, capacity, codes, generator)
        ordered[:, level] = assigned
        residual = residual - centroids[assigned]
        prefix = np.unique(prefix * codes + assigned, return_inverse=True)[1]
    ordered[:, levels] = _numbered_within(prefix)
    ids[order] = ordered
    return ids


def _balanced_kmeans(
    rows: NDArray[np.float64],
    groups: NDArray[np.int64],
    capacity: NDArray[np.int64],
    codes: int,
    generator: np.random.Generator,
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Codes of the rows, and (codes, dimensions) centroids that all groups share."""
    centroids = _spread_start(rows, codes, generator)
    norms = (rows**2).sum(axis=1, keepdims=True)
    for _ in range(_ROUNDS):
        distances = norms - 2 * rows @ centroids.T + (centroids**2).sum(axis=1)
        assigned = balanced_assignment(distances, groups, capacity)
        counts = np.bincount(assigned, minlength=codes)
        sums = np.zeros_like(centroids)
        np.add.at(sums, assigned, rows)
        centroids = np.where(counts[:, None] > 0, sums / np.maximum(counts, 1)[:, None], centroids)
    return assigned, centroids


def _spread_start(
    rows: NDArray[np.float64], codes: int, generator: np.random.Generator
) -> NDArray[np.float64]:
    """Starting centroids, each drawn in proportion to its squared distance from those before (k-means++)."""
    chosen = [int(generator.integers(len(rows)))]
    nearest = ((rows - rows[chosen[0]]) ** 2).sum(axis=1)
    for _ in range(codes - 1):
        cumulated = np.cumsum(nearest)
        at = int(np.searchsorted(cumulated, generator.random() * cumulated[-1], side="right"))
        chosen.append(min(at, len(rows) - 1))
        nearest = np.minimum(nearest, ((rows - rows[chosen[-1]]) ** 2).sum(axis=1))
    return rows[chosen].copy()


def _numbered_within(groups: NDArray[np.int64]) -> NDArray[np.int64]:
    """Number of each row among the rows of its group, from 0."""
    order = np.argsort(groups, kind="stable")
    ordered = groups[order]
    first = np.r_[True, ordered[1:] != ordered[:-1]]
    start = np.maximum.accumulate(np.where(first, np.arange(len(groups)), 0))
    numbers = np.empty(len(groups), np.int64)
    numbers[order] = np.arange(len(groups)) - start
    return numbers
