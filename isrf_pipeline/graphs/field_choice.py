"""Which of the language model's words enter the item-item model, and how strongly: validation decides.

What a model wrote may help or harm, and which of both depends on the model. Each part is tried at a few weights beside
the attributes and is left out where no weight is better by more than the noise of the measurement.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from scipy import sparse

from isrf_pipeline.interests.propagation import history_matrix
from isrf_pipeline.interests.ranking import ndcg_at_10, ranks_of

#: Clients that are ranked at once, against all items.
_BLOCK_CLIENTS = 512


@dataclass(frozen=True)
class ChosenField:
    """One part of the model's words.

    Attributes
    ----------
    field
        feature or tags.
    weight
        Its weight in the kernel, 0 where it is left out.
    gain
        By how much validation NDCG@10 is better at the best weight that was tried than without the part; None where
        nothing could be measured.
    error
        Standard error of that gain, paired over clients; None where nothing could be measured.
    """

    field: str
    weight: float
    gain: float | None
    error: float | None


def choose_fields(
    options: Mapping[str, Sequence[float]],
    solve: Callable[[Mapping[str, float]], sparse.csr_matrix],
    gains: Callable[[sparse.csr_matrix], NDArray[np.float64]] | None,
) -> tuple[sparse.csr_matrix, list[ChosenField]]:
    """Add one part after the other, each at the weight that validation prefers, or not at all.

    Parameters
    ----------
    options
        Part to weights that are tried, in the order in which parts are tried.
    solve
        The item-item model with these weights of parts; parts that are not named are left out.
    gains
        (clients,) NDCG@10 of each validation client with such a model; None where there are none. Each part then takes
        its smallest weight above 0.

    Returns
    -------
    tuple
        The model with all parts that stayed, and what became of each part.
    """
    weights: dict[str, float] = {}
    chosen: list[ChosenField] = []
    if gains is None:
        for field, tried in options.items():
            weights[field] = min((weight for weight in tried if weight > 0), default=0.0)
            chosen.append(ChosenField(field, weights[field], None, None))
        return solve(weights), chosen
    best = solve(weights)
    reached = gains(best)
    for field, tried in options.items():
        without, found, kept = reached, ChosenField(field, 0.0, None, None), None
        for weight in sorted({weight for weight in tried if weight > 0}):
            model = solve(weights | {field: weight})
            now = gains(model)
            gain = float((now - without).mean())
            error = float((now - without).std() / max(len(now), 1) ** 0.5)
            helps = gain > error
            # What helps is better than whatever is within the noise, a larger gain among it included.
            if found.gain is None or (helps, gain) > (found.weight > 0, found.gain):
                found = ChosenField(field, weight if helps else 0.0, gain, error)
                kept = (model, now) if helps else None
        if kept is not None:
            best, reached = kept
            weights[field] = found.weight
        chosen.append(found)
    return best, chosen


def held_out_gains(
    judges: pa.Table, followed: sparse.csr_matrix, decay: float, window: int
) -> NDArray[np.float64]:
    """(clients,) NDCG@10 of each client's held-out item by the item-item model alone.

    The item is ranked among all items but those of the history; ties count against it.

    Parameters
    ----------
    judges
        codes and weights (lists, newest first) and target (item code), one row a client.
    followed
        (items, items); row = item in the history.
    decay, window
        Weight of one more step back, and steps that count.
    """
    gains = np.zeros(judges.num_rows)
    start = 0
    for block in judges.combine_chunks().to_batches(max_chunksize=_BLOCK_CLIENTS):
        codes = block.column("codes")
        history = history_matrix(codes, block.column("weights"), followed.shape[0], decay, window)
        scores = (history @ followed).toarray()
        offsets = codes.offsets.to_numpy()
        flat = codes.flatten().to_numpy(zero_copy_only=False).astype(np.int32)
        shown = np.split(flat, offsets[1:-1] - offsets[0])
        target = block.column("target").to_numpy(zero_copy_only=False).astype(np.int64)
        ranks = ranks_of(scores, target, shown)
        gains[start : start + block.num_rows] = ndcg_at_10(ranks)
        start += block.num_rows
    return gains
