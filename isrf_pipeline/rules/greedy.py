"""The one greedy pass that fills lists under caps, quota and diversity: pure functions of arrays, a block at a time."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

#: More than relevance and likeness can differ by: whatever is demoted stands behind all that is not.
_BEHIND = 10.0


@dataclass(frozen=True)
class Ordered:
    """Candidates of a block of clients in the order in which they would be listed without caps, quota and diversity.

    Attributes
    ----------
    present
        (clients, candidates) whether there is a candidate that may be listed.
    relevance
        (clients, candidates) the model's score between the client's weakest and strongest candidate, 0 to 1.
    demoted
        (clients, candidates) whether the candidate stands behind all that are not demoted; the order says so already.
    new
        (clients, candidates) whether it is a new arrival.
    beside
        (clients, candidates) whether it is a candidate for the quota's sake alone.
    kinds
        For each cap the (clients, candidates) kind of the item, -1 where it has none.
    most
        Places at most, one number a cap.
    vectors
        (clients, candidates, dimensions) unit embeddings; None where likeness does not count.
    """

    present: NDArray[np.bool_]
    relevance: NDArray[np.float64]
    demoted: NDArray[np.bool_]
    new: NDArray[np.bool_]
    beside: NDArray[np.bool_]
    kinds: tuple[NDArray[np.int32], ...] = ()
    most: tuple[int, ...] = ()
    vectors: NDArray[np.float32] | None = None


@dataclass(frozen=True)
class Filled:
    """Filled lists of a block of clients.

    Attributes
    ----------
    picks
        (clients, places) candidate at each place, -1 where there is none; nothing follows the first -1.
    by_quota
        (clients, places) whether the quota alone gave the place to the candidate.
    by_diversity
        (clients, places) whether the candidate would not stand there by score.
    full
        For each cap (clients, candidates) whether the places of the candidate's kind are all taken in the end.
    """

    picks: NDArray[np.int64]
    by_quota: NDArray[np.bool_]
    by_diversity: NDArray[np.bool_]
    full: tuple[NDArray[np.bool_], ...]


class _Capacity:
    """How many places of each candidate's kinds are taken."""

    def __init__(self, kinds: tuple[NDArray[np.int32], ...], most: tuple[int, ...]) -> None:
        self._kinds = kinds
        self._most = most
        self._taken = [np.zeros(kind.shape, np.int16) for kind in kinds]

    def take(self, rows: NDArray[np.int64], picks: NDArray[np.int64], places: int = 1) -> None:
        """Count one pick a row; -1 gives its place back."""
        for kind, taken in zip(self._kinds, self._taken, strict=True):
            own = kind[rows, picks]
            taken[rows] += np.int16(places) * ((kind[rows] == own[:, None]) & (own >= 0)[:, None])

    def full(self) -> tuple[NDArray[np.bool_], ...]:
        """For each cap whether the kind of a candidate has all its places."""
        return tuple(taken >= most for taken, most in zip(self._taken, self._most, strict=True))

    def open(self, shape: tuple[int, ...]) -> NDArray[np.bool_]:
        """Whether a candidate may take one more place."""
        result = np.ones(shape, bool)
        for full in self.full():
            result &= ~full
        return result


def fill_lists(
    ordered: Ordered, places: int, at_least: int = 0, of_first: int | None = None, weight: float = 0.0
) -> Filled:
    """Fill lists from the first place to the last.

    For the quota the best new arrivals that the caps allow beside each other are reserved first, and with them their
    places under the caps. Then each place goes to the candidate of the highest value among those that the caps leave
    open: the model's order, or with diversity ``(1 - weight) * relevance - weight * likeness``, where likeness is the
    largest cosine to an item above (maximal marginal relevance, Carbonell and Goldstein, 1998). A reserved item stands
    where its value puts it, or in the last places of the window where it would come too late. As soon as another new
    arrival takes a place by its own value, the weakest reserved one is released.

    Parameters
    ----------
    ordered
        Candidates, best first.
    places
        Places of a list.
    at_least, of_first
        The quota: so many new arrivals among so many first places; None: the whole list.
    weight
        Of diversity.
    """
    shape = ordered.present.shape
    clients = np.arange(shape[0])
    window = places if of_first is None else min(of_first, places)
    order = np.broadcast_to(-np.arange(shape[1], dtype=np.float64), shape)
    free = ordered.present.copy()
    capacity = _Capacity(ordered.kinds, ordered.most)
    reserved = _reserve(ordered, capacity, order, min(at_least, window))
    had = np.zeros(shape[0], np.int64)
    likeness = np.full(shape, -1.0)
    picks = np.full((shape[0], places), -1, np.int64)
    by_quota, by_diversity = np.zeros(picks.shape, bool), np.zeros(picks.shape, bool)
    for place in range(places if shape[1] else 0):
        open_ = free & (reserved | (capacity.open(shape) & ~ordered.beside))
        value = order
        if ordered.vectors is not None:
            value = (1 - weight) * ordered.relevance - weight * likeness - _BEHIND * ordered.demoted
        unforced = _best(value, open_)
        owed = reserved.sum(axis=1)
        forced = (owed > 0) & (owed >= window - place)
        open_ &= reserved | ~forced[:, None]
        pick = _best(value, open_)
        found = open_[clients, pick]
        rows, chosen = clients[found], pick[found]
        picks[rows, place] = chosen
        by_quota[rows, place] = (chosen != unforced[found]) | ordered.beside[rows, chosen]
        if ordered.vectors is not None:
            by_diversity[rows, place] = chosen != _best(order, open_)[found]
            # Each sum runs over one pair of vectors: it does not depend on who else is in the block.
            cosines = np.einsum("ckd,cd->ck", ordered.vectors, ordered.vectors[clients, pick])
            likeness[rows] = np.maximum(likeness[rows], cosines[rows])
        free[rows, chosen] = False
        held = reserved[rows, chosen]
        reserved[rows, chosen] = False
        capacity.take(rows[~held], chosen[~held])
        had[rows] += ordered.new[rows, chosen]
        surplus = np.flatnonzero((had + reserved.sum(axis=1) > at_least) & reserved.any(axis=1))
        weakest = _best(-order, reserved)[surplus]
        reserved[surplus, weakest] = False
        capacity.take(surplus, weakest, -1)
    return Filled(picks, by_quota, by_diversity, capacity.full())


def _reserve(
    ordered: Ordered, capacity: _Capacity, order: NDArray[np.float64], count: int
) -> NDArray[np.bool_]:
    """(clients, candidates) the best new arrivals that the caps allow beside each other, ``count`` of them at most."""
    shape = ordered.present.shape
    clients = np.arange(shape[0])
    reserved = np.zeros(shape, bool)
    for _ in range(count if shape[1] else 0):
        open_ = ordered.present & ordered.new & ~reserved & capacity.open(shape)
        pick = _best(order, open_)
        found = open_[clients, pick]
        reserved[clients[found], pick[found]] = True
        capacity.take(clients[found], pick[found])
    return reserved


def _best(value: NDArray[np.float64], among: NDArray[np.bool_]) -> NDArray[np.int64]:
    """(clients,) the candidate of the highest value, the first of several; 0 where there is none."""
    return np.asarray(np.where(among, value, -np.inf).argmax(axis=1))
