"""Fuses explicit and implicit interest, ranks all items for every client and says what each place rests on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from scipy import sparse

from isrf_pipeline.config.settings import InteractionGraphSettings, OptimizeSettings
from isrf_pipeline.interests.model import InterestModel
from isrf_pipeline.interests.propagation import (
    BlockInterests,
    FusionWeights,
    ScoreParts,
    history_matrix,
    score_parts,
)
from isrf_pipeline.interests.rounds import group_matrix

if TYPE_CHECKING:
    from pyspark import Broadcast
    from pyspark.sql import DataFrame

RANKED_SCHEMA = (
    "user_id string, rank int, item_id string, score double, explicit_share double, implicit_share double, "
    "because_items array<string>, has_history boolean"
)
#: History items that a recommendation names.
_BECAUSE = 2


def rank_items(
    inputs: DataFrame,
    model: Broadcast[InterestModel],
    weights: FusionWeights,
    graph: InteractionGraphSettings,
    optimize: OptimizeSettings,
    top_n: int,
    only_available: bool,
) -> DataFrame:
    """Rank all items for every client.

    Parameters
    ----------
    inputs
        user_id, codes, weights, group_codes, group_values and excluded (array<int>: codes that may not be listed).
    model
        Broadcast item model.
    weights
        Chosen fusion weights.
    graph, optimize
        Decay, window and size of the feedback.
    top_n
        Length of a list.
    only_available
        Leave out items that are not available.

    Returns
    -------
    DataFrame
        user_id, rank, item_id, score, explicit_share, implicit_share, because_items, has_history; the shares of
        one row add up to 1. Equal scores are ordered by item code.
    """

    def rank(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        items = model.value
        for batch in batches:
            for start in range(0, batch.num_rows, items.rows_at_once):
                block = batch.slice(start, items.rows_at_once)
                parts = score_parts(block_interests(block, items, graph, optimize), items, weights)
                yield _ranked_block(block, parts, items, weights, graph, top_n, only_available)

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

    def measure(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        items = model.value
        for batch in batches:
            for start in range(0, batch.num_rows, items.rows_at_once):
                block = batch.slice(start, items.rows_at_once)
                target = block.column("target").to_numpy(zero_copy_only=False).astype(np.int64)
                excluded = _excluded(block)
                interests = block_interests(block, items, graph, optimize)
                group = interests.group.toarray()
                # Parts that several options share are computed once.
                base: dict[tuple[float, float], NDArray[np.float32]] = {}
                for position, option in enumerate(options):
                    key = (option.semantic, option.feedback)
                    if key not in base:
                        parts = score_parts(
                            interests, items, FusionWeights(option.semantic, 0.0, option.feedback)
                        )
                        base[key] = parts.explicit + parts.implicit
                    ranks = ranks_of(base[key] + option.implicit * group, target, excluded)
                    gain = np.where(ranks <= 10, 1 / np.log2(ranks + 1.0), 0.0)
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
        means[row["option"]] = row["gain"] / row["clients"]
    return means


def block_interests(
    block: pa.RecordBatch, items: InterestModel, graph: InteractionGraphSettings, optimize: OptimizeSettings
) -> BlockInterests:
    """History and group interest of one block of clients, as matrices.

    Parameters
    ----------
    block
        Columns codes, weights, group_codes and group_values.
    items
        The item model.
    graph, optimize
        Decay, window and size of the feedback.
    """
    return BlockInterests(
        history_matrix(
            block.column("codes"), block.column("weights"), items.n_items, graph.decay, graph.window
        ),
        group_matrix(block, items.n_items),
        group_matrix(block, items.n_items, optimize.guide_items),
    )


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


def _excluded(block: pa.RecordBatch) -> list[NDArray[np.int32]]:
    lists = block.column("excluded")
    offsets = lists.offsets.to_numpy()
    codes = lists.flatten().to_numpy(zero_copy_only=False).astype(np.int32)
    return np.split(codes, offsets[1:-1] - offsets[0]) if len(lists) else []


def _ranked_block(
    block: pa.RecordBatch,
    parts: ScoreParts,
    items: InterestModel,
    weights: FusionWeights,
    graph: InteractionGraphSettings,
    top_n: int,
    only_available: bool,
) -> pa.RecordBatch:
    total = parts.explicit + parts.implicit
    if only_available:
        total[:, ~items.available] = -np.inf
    for row, codes in enumerate(_excluded(block)):
        total[row, codes] = -np.inf
    count = min(top_n, items.n_items)
    top = np.argpartition(-total, count - 1, axis=1)[:, :count]
    values = np.take_along_axis(total, top, axis=1)
    # Ordering by code among equal scores makes a list the same whatever argpartition did.
    order = np.lexsort((top, -values), axis=1)
    top, values = np.take_along_axis(top, order, axis=1), np.take_along_axis(values, order, axis=1)
    listed = np.isfinite(values)
    explicit = np.take_along_axis(parts.explicit, top, axis=1)[listed] / np.maximum(values[listed], 1e-12)
    explicit = np.clip(explicit.astype(np.float64), 0, 1)
    lengths = listed.sum(axis=1)
    return pa.RecordBatch.from_pydict(
        {
            "user_id": block.column("user_id").take(pa.array(np.repeat(np.arange(len(lengths)), lengths))),
            "rank": pa.array((np.cumsum(listed, axis=1))[listed].astype(np.int32)),
            "item_id": pa.array(items.item_ids[top[listed]].tolist(), pa.string()),
            "score": values[listed].astype(np.float64),
            "explicit_share": explicit,
            "implicit_share": 1 - explicit,
            "because_items": _because_items(block, top, listed, items, weights, graph),
            "has_history": np.repeat(np.diff(block.column("codes").offsets.to_numpy()) > 0, lengths),
        }
    )


def _because_items(
    block: pa.RecordBatch,
    top: NDArray[np.int64],
    listed: NDArray[np.bool_],
    items: InterestModel,
    weights: FusionWeights,
    graph: InteractionGraphSettings,
) -> pa.ListArray:
    """For each listed item the history items that add most to its explicit score, strongest first."""
    codes, values = _padded_history(block, graph)
    added = np.zeros((codes.shape[1], *top.shape), np.float32)
    for edges, weight in ((items.followed, 1.0), (items.semantic, weights.semantic)):
        if weight == 0 or codes.shape[1] == 0:
            continue
        by_step = np.stack([_weights_between(edges, codes[:, [step]], top) for step in range(codes.shape[1])])
        by_step *= values.T[:, :, None]
        largest = by_step.sum(axis=0).max(axis=1)
        added += weight * by_step / np.maximum(largest, 1e-9)[None, :, None]
    steps = min(_BECAUSE, codes.shape[1])
    strongest_steps = np.argsort(-added, axis=0, kind="stable")[:steps]
    strengths = np.take_along_axis(added, strongest_steps, axis=0)
    rows = np.broadcast_to(np.arange(len(codes))[None, :, None], strongest_steps.shape)
    named = codes[rows, strongest_steps].transpose(1, 2, 0)[listed]
    counts = (strengths.transpose(1, 2, 0)[listed] > 0).sum(axis=1)
    kept = np.arange(steps)[None, :] < counts[:, None]
    offsets = pa.array(np.concatenate([[0], np.cumsum(counts)]).astype(np.int32))
    return pa.ListArray.from_arrays(offsets, pa.array(items.item_ids[named[kept]].tolist(), pa.string()))


def _padded_history(
    block: pa.RecordBatch, graph: InteractionGraphSettings
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """(clients, steps) codes and recency weights, newest first; absent steps weigh 0."""
    lists = block.column("codes")
    lengths = np.minimum(np.diff(lists.offsets.to_numpy()), graph.window)
    steps = int(lengths.max(initial=0))
    starts = lists.offsets.to_numpy()[:-1] - lists.offsets.to_numpy()[0]
    flat = lists.flatten().to_numpy(zero_copy_only=False).astype(np.int64)
    flat_weights = block.column("weights").flatten().to_numpy(zero_copy_only=False).astype(np.float32)
    present = np.arange(steps)[None, :] < lengths[:, None]
    place = np.where(present, starts[:, None] + np.arange(steps)[None, :], 0)
    if len(flat) == 0:
        return np.zeros((len(lists), 0), np.int64), np.zeros((len(lists), 0), np.float32)
    decays = (graph.decay ** np.arange(steps)).astype(np.float32)
    return flat[place], np.where(present, flat_weights[place] * decays, 0).astype(np.float32)


def _weights_between(
    edges: sparse.csr_matrix, source: NDArray[np.int64], target: NDArray[np.int64]
) -> NDArray[np.float32]:
    """Edge weights for broadcast pairs of codes, as a dense array of the pairs' shape."""
    rows, columns = np.broadcast_arrays(source, target)
    return np.asarray(edges[rows.ravel(), columns.ravel()], dtype=np.float32).reshape(rows.shape)
