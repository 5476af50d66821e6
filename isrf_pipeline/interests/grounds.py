"""Which items of a client's history a recommendation rests on."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from scipy import sparse

from isrf_pipeline.config.settings import InteractionGraphSettings
from isrf_pipeline.interests.model import InterestModel
from isrf_pipeline.interests.propagation import FusionWeights

#: History items that a recommendation names.
_BECAUSE = 2


def because_items(
    block: pa.RecordBatch,
    top: NDArray[np.int64],
    listed: NDArray[np.bool_],
    items: InterestModel,
    weights: FusionWeights,
    graph: InteractionGraphSettings,
    scales: tuple[NDArray[np.float32], NDArray[np.float32]] | None = None,
) -> pa.ListArray:
    """For each listed item the history items that add most to its explicit score, strongest first.

    Parameters
    ----------
    block
        The clients.
    top, listed
        (clients, places) item codes, and which of them count.
    items, weights, graph
        The item model, the fixed fusion, the window of the history.
    scales
        (clients,) for followed_by and similar_meaning edges what the fusion divides them by; None takes the largest
        value in ``top``, which has a client's best items.
    """
    codes, values = padded_history(block, graph.window, weights.decay)
    added = np.zeros((codes.shape[1], *top.shape), np.float32)
    kinds = ((items.followed, weights.followed), (items.semantic, weights.semantic))
    for kind, (edges, weight) in enumerate(kinds):
        if weight == 0 or codes.shape[1] == 0:
            continue
        by_step = np.stack([_weights_between(edges, codes[:, [step]], top) for step in range(codes.shape[1])])
        by_step *= values.T[:, :, None]
        largest = by_step.sum(axis=0).max(axis=1) if scales is None else scales[kind]
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


def padded_history(
    block: pa.RecordBatch, window: int, decay: float
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """(clients, steps) codes and recency weights, newest first; absent steps weigh 0."""
    lists = block.column("codes")
    lengths = np.minimum(np.diff(lists.offsets.to_numpy()), window)
    steps = int(lengths.max(initial=0))
    starts = lists.offsets.to_numpy()[:-1] - lists.offsets.to_numpy()[0]
    flat = lists.flatten().to_numpy(zero_copy_only=False).astype(np.int64)
    flat_weights = block.column("weights").flatten().to_numpy(zero_copy_only=False).astype(np.float32)
    present = np.arange(steps)[None, :] < lengths[:, None]
    place = np.where(present, starts[:, None] + np.arange(steps)[None, :], 0)
    if len(flat) == 0:
        return np.zeros((len(lists), 0), np.int64), np.zeros((len(lists), 0), np.float32)
    decays = (decay ** np.arange(steps)).astype(np.float32)
    return flat[place], np.where(present, flat_weights[place] * decays, 0).astype(np.float32)


def _weights_between(
    edges: sparse.csr_matrix, source: NDArray[np.int64], target: NDArray[np.int64]
) -> NDArray[np.float32]:
    """Edge weights for broadcast pairs of codes, as a dense array of the pairs' shape."""
    rows, columns = np.broadcast_arrays(source, target)
    return np.asarray(edges[rows.ravel(), columns.ravel()], dtype=np.float32).reshape(rows.shape)
