"""Features of candidates: all of them are known at the moment of recommendation."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from isrf_pipeline.ranker.facts import ItemFacts

#: Scorers in the order of their features.
SCORERS = ("followed", "semantic", "sequence", "group", "generator")
#: Days of past sales that are counted; the last is all of the past.
_WINDOWS = (30, 120, 365)
#: Features that tell of others: similar clients and everybody. All the rest tells of the client's own history.
_IMPLICIT = (
    "group",
    "group_share",
    "group_place",
    "popularity",
    *(f"sales_{days}" for days in _WINDOWS),
    "sales",
    "age",
)
FEATURES: tuple[str, ...] = (
    *(f"{scorer}{part}" for scorer in SCORERS for part in ("", "_share", "_place")),
    "explicit",
    "explicit_place",
    "popularity",
    "history",
    "similarity_max",
    "similarity_mean",
    "similarity_last",
    *(f"{fact}_{part}" for fact in ("house", "category", "department") for part in ("last", "share")),
    "price",
    "price_difference",
    *(f"sales_{days}" for days in _WINDOWS),
    "sales",
    "age",
)
#: (features,) whether a feature counts as implicit interest.
IS_IMPLICIT: NDArray[np.bool_] = np.array([name in _IMPLICIT for name in FEATURES])
#: (features,) values of a candidate that nothing speaks for: no score, the last place, nothing in common, price and age
#: unknown.
ABSENT: NDArray[np.float32] = np.array(
    [
        np.log1p(10_000)
        if name.endswith("_place")
        else np.nan
        if name in ("price", "price_difference", "age")
        else 0
        for name in FEATURES
    ],
    np.float32,
)


@dataclass(frozen=True)
class Candidates:
    """Candidates of a block of clients, one entry a client and item, clients in order.

    Attributes
    ----------
    rows
        (candidates,) row of the client within the block.
    codes
        (candidates,) item.
    counted
        (candidates,) whether places are counted among a candidate: what is judged beside the others must not move
        them. None: all are counted.
    """

    rows: NDArray[np.int64]
    codes: NDArray[np.int64]
    counted: NDArray[np.bool_] | None = None

    def with_further(self, further: NDArray[np.bool_]) -> Candidates:
        """These candidates and others that are judged beside them.

        Parameters
        ----------
        further
            (clients, items) what is to be judged as well.
        """
        counted = np.zeros(further.shape, bool)
        counted[self.rows, self.codes] = True
        rows, codes = np.nonzero(counted | further)
        return Candidates(rows, codes, counted[rows, codes])


@dataclass(frozen=True)
class History:
    """Newest steps of a block of clients.

    Attributes
    ----------
    codes
        (clients, steps) item codes, newest first, any code beyond a history's end.
    lengths
        (clients,) steps that count.
    today
        (clients,) day since 1970 on which items are recommended.
    """

    codes: NDArray[np.int64]
    lengths: NDArray[np.int64]
    today: NDArray[np.int64]


def choose_candidates(
    fused: NDArray[np.float32],
    scorers: dict[str, NDArray[np.float32]],
    allowed: NDArray[np.bool_],
    by_fusion: int,
    by_scorer: int,
) -> Candidates:
    """The strongest items of the fixed fusion and of each scorer, among those that are allowed.

    Parameters
    ----------
    fused
        (clients, items).
    scorers
        (clients, items) each.
    allowed
        (clients, items).
    by_fusion, by_scorer
        How many of each; a scorer's items count only where its score is positive.
    """
    n = fused.shape[1]
    chosen = np.zeros(fused.shape, bool)
    for scores, count, least in (
        (fused, by_fusion, -np.inf),
        *((scorers[name], by_scorer, 0.0) for name in SCORERS if name in scorers),
    ):
        count = min(count, n)
        if count == 0:
            continue
        # Negated: selecting from the end of rows that are mostly zeros takes numpy ten times as long.
        negated = np.where(allowed, -scores, np.inf)
        top = np.argpartition(negated, count - 1, axis=1)[:, :count]
        good = -np.take_along_axis(negated, top, axis=1) > least
        rows = np.broadcast_to(np.arange(len(top))[:, None], top.shape)
        chosen[rows[good], top[good]] = True
    rows, codes = np.nonzero(chosen)
    return Candidates(rows, codes)


def candidate_features(
    candidates: Candidates,
    scorers: dict[str, NDArray[np.float32]],
    explicit: NDArray[np.float32],
    history: History,
    popularity: NDArray[np.float32],
    embeddings: NDArray[np.float32],
    facts: ItemFacts,
) -> NDArray[np.float32]:
    """(candidates, features) float32 in the order of :data:`FEATURES`; what is unknown is NaN.

    Parameters
    ----------
    candidates
        Of one block of clients.
    scorers
        (clients, items) scores of each scorer; one that is absent is unknown.
    explicit
        (clients, items) explicit part of the fixed fusion.
    history
        What the clients chose.
    popularity
        (items,) clients of each item.
    embeddings
        (items, dimensions) unit embeddings.
    facts
        Of the items.
    """
    rows, codes = candidates.rows, candidates.codes
    columns: dict[str, NDArray[np.float32]] = {}
    for name in SCORERS:
        if name not in scorers:
            unknown = np.full(len(rows), np.nan, np.float32)
            columns |= {name: unknown, f"{name}_share": unknown, f"{name}_place": unknown}
            continue
        scores = scorers[name]
        own = scores[rows, codes]
        columns[name] = own
        columns[f"{name}_share"] = own / np.maximum(scores.max(axis=1), 1e-9)[rows]
        columns[f"{name}_place"] = _places(rows, own, candidates.counted)
    columns["explicit"] = explicit[rows, codes]
    columns["explicit_place"] = _places(rows, columns["explicit"], candidates.counted)
    columns["popularity"] = np.log1p(popularity[codes])
    columns["history"] = history.lengths[rows].astype(np.float32)
    columns |= _similarities(candidates, history, embeddings)
    columns |= _affinities(candidates, history, facts)
    day = history.today[rows]
    before = facts.sales.before(codes, day)
    for days in _WINDOWS:
        columns[f"sales_{days}"] = np.log1p(before - facts.sales.before(codes, day - days))
    columns["sales"] = np.log1p(before)
    columns["age"] = facts.sales.age(codes, day)
    return np.stack([np.asarray(columns[name], np.float32) for name in FEATURES], axis=1)


def _places(
    rows: NDArray[np.int64], scores: NDArray[np.float32], counted: NDArray[np.bool_] | None
) -> NDArray[np.float32]:
    """Logarithm of each candidate's place by a score among the counted of its client; equal scores share one."""
    order = np.lexsort((-scores, rows))
    first = np.r_[True, rows[order][1:] != rows[order][:-1]]
    same = ~first & np.r_[False, scores[order][1:] == scores[order][:-1]]
    position = np.arange(len(rows))
    if counted is not None:
        # So many that count stand before.
        position = np.cumsum(counted[order]) - counted[order]
    start = np.maximum.accumulate(np.where(first, position, 0))
    place = np.maximum.accumulate(np.where(same, 0, position)) - start
    places = np.empty(len(rows), np.float32)
    places[order] = np.log1p(place)
    return places


def _similarities(
    candidates: Candidates, history: History, embeddings: NDArray[np.float32]
) -> dict[str, NDArray[np.float32]]:
    """Cosine of each candidate to the items of the history: the largest, the mean, and the newest one's."""
    largest, mean, last = (np.full(len(candidates.rows), np.nan, np.float32) for _ in range(3))
    bounds = np.searchsorted(candidates.rows, np.arange(len(history.lengths) + 1))
    for row, length in enumerate(history.lengths):
        part = slice(bounds[row], bounds[row + 1])
        if length and part.stop > part.start:
            cosine = embeddings[candidates.codes[part]] @ embeddings[history.codes[row, :length]].T
            largest[part], mean[part], last[part] = cosine.max(axis=1), cosine.mean(axis=1), cosine[:, 0]
    return {"similarity_max": largest, "similarity_mean": mean, "similarity_last": last}


def _affinities(candidates: Candidates, history: History, facts: ItemFacts) -> dict[str, NDArray[np.float32]]:
    """Whether a candidate shares house and category with the newest item and with how much of the history; price."""
    rows, codes = candidates.rows, candidates.codes
    counts = np.arange(history.codes.shape[1])[None, :] < history.lengths[:, None]
    some = np.maximum(history.lengths, 1)
    columns: dict[str, NDArray[np.float32]] = {}
    for name in ("house", "category", "department"):
        values: NDArray[np.int32] = getattr(facts, name)
        own = values[codes]
        shown = np.where(counts, values[history.codes], -1)
        same = (shown[rows] == own[:, None]) & (own >= 0)[:, None]
        columns[f"{name}_last"] = same[:, 0] if same.shape[1] else np.zeros(len(rows), np.float32)
        columns[f"{name}_share"] = same.sum(axis=1) / some[rows]
    prices = np.where(counts, facts.price[history.codes], np.nan)
    known = np.isfinite(prices)
    usual = np.where(known, prices, 0).sum(axis=1) / np.where(known.any(axis=1), known.sum(axis=1), np.nan)
    columns["price"] = facts.price[codes]
    columns["price_difference"] = facts.price[codes] - usual[rows]
    return columns
