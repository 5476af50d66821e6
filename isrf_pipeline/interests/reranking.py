"""Brings the learned ranker to blocks of clients: candidates, their features, their order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from isrf_pipeline.config.settings import InteractionGraphSettings, RankerSettings
from isrf_pipeline.interests.blocks import ScoredBlock
from isrf_pipeline.interests.grounds import padded_history
from isrf_pipeline.interests.model import InterestModel
from isrf_pipeline.interests.propagation import BlockInterests
from isrf_pipeline.ranker.features import Candidates, History, candidate_features, choose_candidates
from isrf_pipeline.ranker.model import Ranker, explicit_shares


@dataclass(frozen=True)
class Reranking:
    """A ranker, how its candidates are chosen, and which scorers take part."""

    ranker: Ranker
    settings: RankerSettings
    scorers: Sequence[str]


def block_candidates(
    block: ScoredBlock,
    items: InterestModel,
    graph: InteractionGraphSettings,
    settings: RankerSettings,
    scorers: Sequence[str],
    further: NDArray[np.bool_] | None = None,
) -> tuple[Candidates, NDArray[np.float32]]:
    """Candidates of a block of clients and their features.

    Parameters
    ----------
    block
        Its rows have the column today.
    items
        The item model, with facts.
    graph
        Steps of the history that count.
    settings
        How many candidates.
    scorers
        Which scorers take part; what the others say is unknown.
    further
        (clients, items) what is judged beside the candidates, without a change of their features.
    """
    assert items.facts is not None
    matrices = scorer_matrices(block.interests, scorers, block.weights.decay)
    explicit = block.parts.explicit
    candidates = choose_candidates(
        explicit + block.parts.implicit, matrices, block.allowed, settings.by_fusion, settings.by_scorer
    )
    if further is not None:
        candidates = candidates.with_further(further)
    rows = block.rows
    codes, _ = padded_history(rows, graph.window, block.weights.decay)
    lengths = np.minimum(np.diff(rows.column("codes").offsets.to_numpy()), graph.window).astype(np.int64)
    today = rows.column("today").to_numpy(zero_copy_only=False).astype(np.int64)
    features = candidate_features(
        candidates,
        matrices,
        explicit,
        History(codes, lengths, today),
        items.popularity,
        items.embeddings,
        items.facts,
    )
    return candidates, features


def scorer_matrices(
    interests: BlockInterests, scorers: Sequence[str], decay: float
) -> dict[str, NDArray[np.float32]]:
    """(clients, items) scores of those of :data:`isrf_pipeline.ranker.features.SCORERS` that take part."""
    matrices: dict[str, NDArray[np.float32]] = {}
    if "followed" in scorers:
        matrices["followed"] = interests.followed(decay)
    if "semantic" in scorers:
        matrices["semantic"] = interests.semantic(decay)
    if "sequence" in scorers and interests.sequence is not None:
        matrices["sequence"] = interests.sequence
    if "group" in scorers:
        matrices["group"] = interests.dense_group
    if "generator" in scorers and interests.generated is not None:
        matrices["generator"] = interests.generated.toarray()
    return matrices


@dataclass(frozen=True)
class OrderedCandidates:
    """The best candidates of a block of clients, clients in order and each one's best first.

    Attributes
    ----------
    rows, codes
        (listed,) client's row and item.
    places
        (listed,) place in the client's list, from 0.
    scores
        (listed,).
    features
        (listed, features).
    """

    rows: NDArray[np.int64]
    codes: NDArray[np.int64]
    places: NDArray[np.int64]
    scores: NDArray[np.float64]
    features: NDArray[np.float32]


def ordered_candidates(
    block: ScoredBlock,
    items: InterestModel,
    graph: InteractionGraphSettings,
    reranking: Reranking,
    top_n: int,
) -> OrderedCandidates:
    """Order candidates by the ranker, equal scores by item code; see :func:`block_candidates` for the rest."""
    candidates, features = block_candidates(block, items, graph, reranking.settings, reranking.scorers)
    scores = reranking.ranker.scores(features) if len(features) else np.zeros(0)
    order = np.lexsort((candidates.codes, -scores, candidates.rows))
    lengths = np.bincount(candidates.rows, minlength=block.rows.num_rows)
    place = np.arange(len(order)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    order, place = order[place < top_n], place[place < top_n]
    return OrderedCandidates(
        candidates.rows[order], candidates.codes[order], place, scores[order], features[order]
    )


def reranked(
    block: ScoredBlock,
    items: InterestModel,
    graph: InteractionGraphSettings,
    reranking: Reranking,
    top_n: int,
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]:
    """(clients, top_n) items, scores (-inf where there are no more) and explicit shares, best first."""
    ordered = ordered_candidates(block, items, graph, reranking, top_n)
    top = np.zeros((block.rows.num_rows, top_n), np.int64)
    values = np.full(top.shape, -np.inf)
    explicit = np.full(top.shape, 0.5)
    at = (ordered.rows, ordered.places)
    top[at], values[at] = ordered.codes, ordered.scores
    if len(ordered.rows):
        explicit[at] = explicit_shares(reranking.ranker.contributions(ordered.features, ordered.scores))
    return top, values, explicit
