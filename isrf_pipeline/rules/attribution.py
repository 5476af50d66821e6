"""Which rule gave an item its place, and which one kept it out of the list."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from isrf_pipeline.rules.names import DIVERSITY, HARD, NEW_ARRIVALS, PRICE_BAND


def withheld_by(
    out: NDArray[np.int64],
    rows: NDArray[np.int64],
    grid: NDArray[np.int64],
    forbidden: NDArray[np.int8],
    demoted: NDArray[np.bool_],
    full: Mapping[str, NDArray[np.bool_]],
    brought_in: NDArray[np.int64] | None,
) -> list[str]:
    """Name the rule that kept each of some candidates out of the list.

    The first rule that forbids it; else the price band where it is demoted; else the first cap of its kinds that the
    list has filled. What is left gave way to others: as many as the quota has brought in gave way to the quota, the
    weakest first, the others to diversity.

    Parameters
    ----------
    out
        Positions of these candidates.
    rows
        (candidates,) row of the client of each candidate.
    grid
        (clients, places) position of each candidate that may be listed, in order; -1 beyond.
    forbidden
        (candidates,) see :func:`isrf_pipeline.rules.filters.forbidden_by`.
    demoted
        (candidates,) whether it stands behind all that are not.
    full
        By cap the (clients, places of the grid) whether all places of the candidate's kind are taken.
    brought_in
        (clients,) items that only the quota has brought in; None where it need not be told from diversity.
    """
    names = [*HARD, *full, NEW_ARRIVALS, DIVERSITY]
    number = {name: place for place, name in enumerate(names)}
    why = forbidden[out].astype(np.int64) - 1
    why[(why < 0) & demoted[out]] = number[PRICE_BAND]
    place = np.zeros(len(rows), np.int64)
    clients, places = np.nonzero(grid >= 0)
    place[grid[clients, places]] = places
    for name, taken in full.items():
        why[(why < 0) & taken[rows[out], place[out]]] = number[name]
    rest = np.flatnonzero(why < 0)
    rest = rest[np.lexsort((-place[out[rest]], rows[out[rest]]))]
    if brought_in is None:
        why[rest] = number[NEW_ARRIVALS]
    else:
        owner = rows[out[rest]]
        to_quota = places_within(owner, len(grid)) < brought_in[owner]
        why[rest] = np.where(to_quota, number[NEW_ARRIVALS], number[DIVERSITY])
    return [names[reason] for reason in why.tolist()]


def places_within(rows: NDArray[np.int64], clients: int) -> NDArray[np.int64]:
    """Place of each entry among those of its client, from 0; entries are in the order of clients."""
    lengths = np.bincount(rows, minlength=clients)
    return np.arange(len(rows)) - np.repeat(np.cumsum(lengths) - lengths, lengths)


def named_reasons(reasons: Mapping[str, NDArray[np.bool_]]) -> pa.ListArray:
    """For each place the names of what is true of it; null where nothing is.

    Parameters
    ----------
    reasons
        (places,) by name.
    """
    true = np.stack(list(reasons.values()), axis=1)
    lengths = true.sum(axis=1)
    offsets = pa.array(np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32))
    values = pa.array(np.array(list(reasons), dtype=object)[np.nonzero(true)[1]].tolist(), pa.string())
    return pa.ListArray.from_arrays(offsets, values, mask=pa.array(lengths == 0))
