"""Fuses explicit and implicit interest, ranks all items for every client and says what each place rests on."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from isrf_pipeline.config.settings import InteractionGraphSettings, OptimizeSettings
from isrf_pipeline.interests.blocks import (
    ScoredBlock,
    block_interests,
    blocks_of,
    excluded_codes,
    scored_blocks,
)
from isrf_pipeline.interests.grounds import because_items
from isrf_pipeline.interests.model import InterestModel
from isrf_pipeline.interests.propagation import FusionWeights, score_parts
from isrf_pipeline.interests.reranking import Reranking, reranked

if TYPE_CHECKING:
    from pyspark import Broadcast
    from pyspark.sql import DataFrame

RANKED_SCHEMA = (
    "user_id string, rank int, item_id string, score double, explicit_share double, implicit_share double, "
    "because_items array<string>, has_history boolean"
)


def rank_items(
    inputs: DataFrame,
    model: Broadcast[InterestModel],
    weights: FusionWeights,
    graph: InteractionGraphSettings,
    optimize: OptimizeSettings,
    top_n: int,
    only_available: bool,
    reranking: Reranking | None = None,
) -> DataFrame:
    """Rank all items for every client.

    Parameters
    ----------
    inputs
        user_id, codes, weights, group_codes, group_values, excluded (array<int>: codes that may not be listed) and,
        with a ranker, today (int: day since 1970 that the lists are for).
    model
        Broadcast item model.
    weights
        Chosen fusion weights.
    graph, optimize
        Window of the history and size of the feedback.
    top_n
        Length of a list.
    only_available
        Leave out items that are not available.
    reranking
        The learned ranker, or None where the fixed fusion ranks.

    Returns
    -------
    DataFrame
        user_id, rank, item_id, score, explicit_share, implicit_share, because_items, has_history; the shares of
        one row add up to 1. Equal scores are ordered by item code.
    """

    def rank(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        items = model.value
        for block in scored_blocks(batches, items, weights, graph, optimize, only_available):
            yield ranked_block(block, items, weights, graph, top_n, reranking)

    return inputs.mapInArrow(rank, RANKED_SCHEMA)


def held_out_ndcg(
    inputs: DataFrame,
    model: Broadcast[InterestModel],
    candidates: Sequence[FusionWeights],
    graph: InteractionGraphSettings,
    optimize: OptimizeSettings,
) -> list[float]:
    """NDCG@10 of the held-out item for each of several fusion weights, over all clients of ``inputs``.

    The held-out item is ranked among all items except the client's own input; ties count against us.

    Parameters
    ----------
    inputs
        As for :func:`rank_items` and target (int: code of the held-out item).
    model
        Broadcast item model.
    candidates
        Weights to compare.

    Returns
    -------
    list of float
        Mean NDCG@10, one value for each candidate.
    """
    from pyspark.sql import functions as F

    options = list(candidates)
    decays = {option.decay for option in options}

    def measure(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        items = model.value
        for block in blocks_of(batches, items):
            target = block.column("target").to_numpy(zero_copy_only=False).astype(np.int64)
            excluded = excluded_codes(block)
            interests = block_interests(block, items, graph, optimize, decays)
            # Parts that several options share are computed once.
            base: dict[FusionWeights, NDArray[np.float32]] = {}
            for position, option in enumerate(options):
                alone = dataclasses.replace(option, implicit=0.0)
                if alone not in base:
                    parts = score_parts(interests, alone)
                    base[alone] = parts.explicit + parts.implicit
                ranks = ranks_of(base[alone] + option.implicit * interests.dense_group, target, excluded)
                gain = ndcg_at_10(ranks)
                yield pa.RecordBatch.from_pydict(
                    {
                        "option": pa.array([position], pa.int32()),
                        "gain": [float(gain.sum())],
                        "clients": [len(target)],
                    }
                )

    rows = (
        inputs.mapInArrow(measure, "option int, gain double, clients bigint")
        .groupBy("option")
        .agg(F.sum("gain").alias("gain"), F.sum("clients").alias("clients"))
        .collect()
    )
    means = [0.0] * len(options)
    for row in rows:
        # The last digits depend on the order of the sum, and must not decide between options that are equally good.
        means[row["option"]] = round(row["gain"] / row["clients"], 9)
    return means


def ranks_of(
    scores: NDArray[np.float32], target: NDArray[np.int64], excluded: list[NDArray[np.int32]]
) -> NDArray[np.int64]:
    """Rank of each row's target among all items not excluded; ties count against the target.

    Parameters
    ----------
    scores
        (clients, items).
    target
        (clients,) item codes.
    excluded
        Codes that are not ranked, one array a client.
    """
    rows = np.arange(len(target))
    own = scores[rows, target].copy()
    above = np.count_nonzero(scores >= own[:, None], axis=1)
    owner = np.repeat(rows, [len(codes) for codes in excluded])
    others = np.concatenate(excluded) if excluded else np.zeros(0, np.int32)
    not_ranked = (scores[owner, others] >= own[owner]) & (others != target[owner])
    result: NDArray[np.int64] = above - np.bincount(owner, not_ranked, len(target)).astype(np.int64)
    return result


def ndcg_at_10(ranks: NDArray[np.int64]) -> NDArray[np.float64]:
    """(clients,) NDCG@10 of one held-out item each, from its rank counted from 1; see evaluation.metrics."""
    return np.where(ranks <= 10, 1 / np.log2(ranks + 1.0), 0.0)


def ranked_block(
    block: ScoredBlock,
    items: InterestModel,
    weights: FusionWeights,
    graph: InteractionGraphSettings,
    top_n: int,
    reranking: Reranking | None = None,
) -> pa.RecordBatch:
    """Lists of one block of clients; see :func:`rank_items`."""
    rows = block.rows
    count = min(top_n, items.n_items)
    if reranking is None:
        top, values, explicit = _fused_lists(block, np.arange(rows.num_rows), count)
    else:
        top, values, explicit = reranked(block, items, graph, reranking, count)
        # The ranker learned from clients with a history; the others keep what is popular.
        silent = np.flatnonzero(np.diff(rows.column("codes").offsets.to_numpy()) == 0)
        top[silent], values[silent], explicit[silent] = _fused_lists(block, silent, count)
    listed = np.isfinite(values)
    lengths = listed.sum(axis=1)
    return pa.RecordBatch.from_pydict(
        {
            "user_id": rows.column("user_id").take(pa.array(np.repeat(np.arange(len(lengths)), lengths))),
            "rank": pa.array((np.cumsum(listed, axis=1))[listed].astype(np.int32)),
            "item_id": pa.array(items.item_ids[top[listed]].tolist(), pa.string()),
            "score": values[listed].astype(np.float64),
            "explicit_share": explicit[listed],
            "implicit_share": 1 - explicit[listed],
            "because_items": because_items(rows, top, listed, items, weights, graph),
            "has_history": np.repeat(np.diff(rows.column("codes").offsets.to_numpy()) > 0, lengths),
        }
    )


def _fused_lists(
    block: ScoredBlock, clients: NDArray[np.intp], count: int
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]:
    """(clients, count) items, scores (-inf where there are no more) and explicit shares, best first."""
    own = block.parts.explicit[clients]
    total = np.where(block.allowed[clients], own + block.parts.implicit[clients], -np.inf)
    top = np.argpartition(-total, count - 1, axis=1)[:, :count]
    values = np.take_along_axis(total, top, axis=1)
    # Ordering by code among equal scores makes a list the same whatever argpartition did.
    order = np.lexsort((top, -values), axis=1)
    top, values = np.take_along_axis(top, order, axis=1), np.take_along_axis(values, order, axis=1)
    explicit = np.take_along_axis(own, top, axis=1) / np.maximum(values, 1e-12)
    return top, values.astype(np.float64), np.clip(explicit.astype(np.float64), 0, 1)
