"""Candidates of a block of clients: the strongest that may be listed, and what rules take from the model's lists."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from isrf_pipeline.config.settings import InteractionGraphSettings
from isrf_pipeline.interests.blocks import ScoredBlock
from isrf_pipeline.interests.model import InterestModel
from isrf_pipeline.interests.reranking import Reranking, block_candidates
from isrf_pipeline.ranker.model import explicit_shares

#: Scores are float32: what this adds tells apart only what is equal.
_TIE = 1e-9


@dataclass(frozen=True)
class BlockRules:
    """What the rules say of each client and item of a block, each (clients, items).

    Attributes
    ----------
    forbidden
        int8: see :func:`isrf_pipeline.rules.filters.forbidden_by`.
    demoted
        Whether an item stands behind all that are not demoted; None where nothing is demoted.
    new
        Whether an item is a new arrival; None where there is no quota.
    """

    forbidden: NDArray[np.int8]
    demoted: NDArray[np.bool_] | None
    new: NDArray[np.bool_] | None


@dataclass(frozen=True)
class Pool:
    """Candidates, one entry a client and item, clients in order.

    Attributes
    ----------
    rows, codes
        (candidates,) row of the client within the block and item.
    scores
        (candidates,) the model's score.
    closeness
        (candidates,) how close a new arrival is in meaning to the client's taste, 0 for all others: tells apart what
        the model gives one score.
    beside
        (candidates,) whether the model had not made it a candidate: it is one for the quota's sake.
    explicit
        Share of explicit interest in the scores of the candidates at some positions.
    """

    rows: NDArray[np.int64]
    codes: NDArray[np.int64]
    scores: NDArray[np.float64]
    closeness: NDArray[np.float64]
    beside: NDArray[np.bool_]
    explicit: Callable[[NDArray[np.int64]], NDArray[np.float64]]


def block_pool(
    block: ScoredBlock,
    items: InterestModel,
    graph: InteractionGraphSettings,
    said: BlockRules,
    top_n: int,
    count: int,
    reranking: Reranking | None,
) -> Pool:
    """Candidates of a block of clients.

    They are the strongest ``count`` that may be listed, or with a ranker those that it orders, and for each client
    ``top_n`` more of each kind that rules are about: what is forbidden but would stand in the model's list, the
    strongest demoted items, and the strongest new arrivals.

    Parameters
    ----------
    block
        Scores of the fixed fusion.
    items
        The item model.
    graph
        Window of the history.
    said
        What the rules say.
    top_n, count
        Places of a list, and candidates that are ordered anew.
    reranking
        The learned ranker, or None where the fixed fusion ranks.
    """
    total = block.parts.explicit + block.parts.implicit
    everything = np.ones(total.shape, bool)
    allowed = said.forbidden == 0
    chosen = _strongest(total, allowed if said.demoted is None else allowed & ~said.demoted, count)
    if said.demoted is not None:
        chosen |= _strongest(total, allowed & said.demoted, top_n)
    silent = np.diff(block.rows.column("codes").offsets.to_numpy()) == 0
    by_ranker = np.zeros(len(silent), bool) if reranking is None else ~silent
    reach = top_n if reranking is None else max(top_n, reranking.settings.by_fusion)
    further = _strongest(total, everything, reach) & ~allowed
    if said.new is not None:
        taste = _taste(block, items)
        further |= _closest(taste, items, total, allowed & said.new, top_n)
    rows, codes = np.nonzero((chosen | further) & ~by_ranker[:, None])
    scores = total[rows, codes].astype(np.float64)
    beside = allowed[rows, codes] & ~chosen[rows, codes]
    features: NDArray[np.float32] | None = None
    if reranking is not None and by_ranker.any():
        # The ranker learned from clients with a history; the others keep the fixed fusion.
        judged, features = block_candidates(
            dataclasses.replace(block, allowed=allowed & by_ranker[:, None]),
            items,
            graph,
            reranking.settings,
            reranking.scorers,
            further & by_ranker[:, None],
        )
        assert judged.counted is not None
        also = allowed[judged.rows, judged.codes] & ~judged.counted
        rows, codes = np.concatenate([rows, judged.rows]), np.concatenate([codes, judged.codes])
        scores = np.concatenate([scores, reranking.ranker.scores(features)])
        beside = np.concatenate([beside, also])
    fused = len(rows) - (0 if features is None else len(features))

    def explicit(positions: NDArray[np.int64]) -> NDArray[np.float64]:
        own = block.parts.explicit[rows[positions], codes[positions]]
        fused_scores = scores[positions].astype(np.float32)
        shares = np.asarray(np.clip((own / np.maximum(fused_scores, 1e-12)).astype(np.float64), 0, 1))
        ranked = positions >= fused
        if ranked.any():
            assert reranking is not None and features is not None
            of_ranker = features[positions[ranked] - fused]
            shares[ranked] = explicit_shares(
                reranking.ranker.contributions(of_ranker, scores[positions[ranked]])
            )
        return shares

    closeness = np.zeros(len(rows))
    if said.new is not None:
        new = said.new[rows, codes]
        pairs = taste[rows[new]], items.embeddings[codes[new]]
        closeness[new] = np.round(np.einsum("cd,cd->c", *pairs), 5)
    return Pool(rows, codes, scores, closeness, beside, explicit)


def _strongest(scores: NDArray[np.float32], among: NDArray[np.bool_], count: int) -> NDArray[np.bool_]:
    """(clients, items) the ``count`` strongest of each client."""
    count = min(count, scores.shape[1])
    negated = np.where(among, -scores, np.inf)
    top = np.argpartition(negated, count - 1, axis=1)[:, :count]
    listed = np.isfinite(np.take_along_axis(negated, top, axis=1))
    result = np.zeros(scores.shape, bool)
    np.put_along_axis(result, top, listed, axis=1)
    return result


def _taste(block: ScoredBlock, items: InterestModel) -> NDArray[np.float32]:
    """(clients, dimensions) unit mean of what new arrivals are compared with.

    On its first night an item may have no edge to what the client chose, and then its score is that of nothing. It is
    compared with the history, with the group's items where there is none, and with what everybody has where there is
    neither.
    """
    interests = block.interests
    taste = np.asarray(interests.histories[block.weights.decay] @ items.embeddings)
    for instead in (np.asarray(interests.group @ items.embeddings), items.popularity @ items.embeddings):
        taste = np.where(taste.any(axis=1, keepdims=True), taste, instead)
    return np.asarray(taste / np.maximum(np.linalg.norm(taste, axis=1, keepdims=True), 1e-12), np.float32)


def _closest(
    taste: NDArray[np.float32],
    items: InterestModel,
    total: NDArray[np.float32],
    among: NDArray[np.bool_],
    count: int,
) -> NDArray[np.bool_]:
    """(clients, items) the ``count`` strongest; of equally strong ones those that are closest in meaning."""
    columns = np.flatnonzero(among.any(axis=0))
    result = np.zeros(among.shape, bool)
    # The last digits of a product depend on how many clients it is computed for.
    closeness = np.round(taste @ items.embeddings[columns].T, 5)
    own = np.where(among[:, columns], total[:, columns].astype(np.float64) + _TIE * closeness, -np.inf)
    # A stable sort: among equals the smaller code.
    top = np.argsort(-own, axis=1, kind="stable")[:, :count]
    listed = np.isfinite(np.take_along_axis(own, top, axis=1))
    result[np.arange(len(result))[:, None], columns[top]] = listed
    return result
