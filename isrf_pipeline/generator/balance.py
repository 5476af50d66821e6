"""Assigns items to codes so that none is crowded: a stable matching of items and places."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def balanced_assignment(
    distances: NDArray[np.float64], groups: NDArray[np.int64], capacity: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Give each item a code; within a group no code takes more than the group's capacity.

    Items propose to their nearest code first and to the next where they are turned away; a code keeps the nearest of
    those who propose (deferred acceptance: Gale and Shapley, 1962). The result does not depend on the order of the
    rows where distances differ; equal distances go by row.

    Parameters
    ----------
    distances
        (items, codes) distance of each item to each code.
    groups
        (items,) group of each item, from 0.
    capacity
        (groups,) most items of one code in a group.

    Returns
    -------
    ndarray
        (items,) code of each item.

    Raises
    ------
    ValueError
        If a group has more items than its codes have places.
    """
    n, k = distances.shape
    if np.any(np.bincount(groups, minlength=len(capacity)) > capacity * k):
        raise ValueError("a group has more items than its codes have places")
    preference = np.argsort(distances, axis=1, kind="stable")
    asked = np.zeros(n, np.int64)
    rows = np.arange(n)
    while True:
        choice = preference[rows, asked]
        place = groups * k + choice
        order = np.lexsort((rows, distances[rows, choice], place))
        ordered = place[order]
        first = np.r_[True, ordered[1:] != ordered[:-1]] if n else np.zeros(0, bool)
        start = np.maximum.accumulate(np.where(first, np.arange(n), 0)) if n else np.zeros(0, np.int64)
        refused = order[np.arange(n) - start >= capacity[groups[order]]]
        if not len(refused):
            return np.asarray(choice, np.int64)
        asked[refused] += 1
