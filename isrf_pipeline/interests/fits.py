"""How well a set of items fits a client, on a scale that compares across clients."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from isrf_pipeline.config.settings import InteractionGraphSettings, OptimizeSettings
from isrf_pipeline.interests.blocks import ScoredBlock, scored_blocks
from isrf_pipeline.interests.grounds import because_items
from isrf_pipeline.interests.model import InterestModel
from isrf_pipeline.interests.propagation import FusionWeights

if TYPE_CHECKING:
    from pyspark import Broadcast
    from pyspark.sql import DataFrame

FIT_SCHEMA = (
    "user_id string, target int, fit double, item_id string, item_fit double, explicit_share double, "
    "implicit_share double, because_items array<string>, has_history boolean"
)


@dataclass(frozen=True)
class FitTarget:
    """Items that clients are to be judged by.

    Attributes
    ----------
    codes
        (targets,) item codes, each once.
    weights
        (targets,) positive weights.
    least
        Fit below which nobody wants to know what it rests on.
    by_best
        Whether the fit is that of the best item, whatever the weights, instead of the weighted mean.
    """

    codes: NDArray[np.int64]
    weights: NDArray[np.float64]
    least: float = 0.0
    by_best: bool = False


def client_fits(
    inputs: DataFrame,
    model: Broadcast[InterestModel],
    weights: FusionWeights,
    graph: InteractionGraphSettings,
    optimize: OptimizeSettings,
    targets: Sequence[FitTarget],
    only_available: bool,
) -> DataFrame:
    """Judge clients by each of several targets.

    The fused score ranks the items of one client and means nothing beside another client's. So an item's fit is the
    share of the catalogue that it outranks for the client:

        item_fit(c, i) = (items j with s(c, j) < s(c, i)  +  half of those with s(c, j) = s(c, i)) / (all j),

    j running over the other items that the client's list may hold. It is .5 for an item that is as good as one drawn
    at random, 1 for the client's favourite, for every client, however long the history. A target's fit is the mean of
    its items' by their weights: the chance that an item drawn from the target suits the client better than one drawn
    from the catalogue (the area under the ROC curve, Fawcett 2006). ``by_best`` takes the largest instead of the mean:
    that compares across clients as well, but is the higher the more items there are.

    ``s`` is the fixed fusion of explicit and implicit interest without the little that popularity adds to it: what
    nothing speaks for is then as good as anything else that nothing speaks for, and what sells everywhere does not
    look like this client's taste. The learned ranker, where there is one, orders candidates only and has no part in it.

    Parameters
    ----------
    inputs
        As for :func:`isrf_pipeline.interests.ranking.rank_items`, and targets (array<int>): positions in ``targets``
        of those that the client is to be judged by.
    model
        Broadcast item model.
    weights
        Chosen fusion weights.
    graph, optimize
        Window of the history and size of the feedback.
    targets
        What clients are judged by. An item of a target that is excluded for a client counts neither way; one that is
        not available counts.
    only_available
        Whether a target's items are compared with available items alone.

    Returns
    -------
    DataFrame
        user_id, target (position), fit (null where all its items are excluded for the client) and, of those who reach
        ``least``: item_id (the item with the best fit, equal ones by weight, then code), item_fit, explicit_share and
        implicit_share of its score (both 0 where nothing speaks for it), because_items, has_history.
    """

    def judge(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        items = model.value
        unbiased = dataclasses.replace(items, popularity=np.zeros_like(items.popularity))
        for block in scored_blocks(batches, unbiased, weights, graph, optimize):
            yield from fits_of_block(block, unbiased, graph, targets, only_available)

    return inputs.mapInArrow(judge, FIT_SCHEMA)


def fits_of_block(
    block: ScoredBlock,
    items: InterestModel,
    graph: InteractionGraphSettings,
    targets: Sequence[FitTarget],
    only_available: bool,
) -> list[pa.RecordBatch]:
    """Fits of one block of clients, a batch a target; see :func:`client_fits`."""
    codes = np.unique(np.concatenate([target.codes for target in targets]))
    scores = block.parts.explicit + block.parts.implicit
    compared = block.allowed & items.available if only_available else block.allowed
    shares = shares_outranked(scores, compared, codes)
    asked = _asked(block.rows.column("targets"), len(targets))
    scales = _kind_scales(block)
    return [
        _fits_of_target(
            block,
            items,
            graph,
            target,
            place,
            shares[:, np.searchsorted(codes, target.codes)],
            asked[:, place],
            scales,
        )
        for place, target in enumerate(targets)
    ]


def shares_outranked(
    scores: NDArray[np.float32], compared: NDArray[np.bool_], codes: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Share of each row's compared items that some items outrank, ties counting half.

    Parameters
    ----------
    scores, compared
        (clients, items).
    codes
        (targets,) items; none is compared with itself.

    Returns
    -------
    ndarray
        (clients, targets); .5 where there is nothing to compare with.
    """
    ordered = np.sort(np.where(compared, scores, np.inf).astype(np.float32), axis=1)
    wanted = scores[:, codes]
    itself = compared[:, codes].astype(np.int64)
    counts = compared.sum(axis=1)
    below, upto = np.empty(wanted.shape, np.int64), np.empty(wanted.shape, np.int64)
    for row, count in enumerate(counts):
        below[row] = np.searchsorted(ordered[row, :count], wanted[row], "left")
        upto[row] = np.searchsorted(ordered[row, :count], wanted[row], "right")
    others = counts[:, None] - itself
    shares = (below + (upto - below - itself) / 2) / np.maximum(others, 1)
    return np.where(others > 0, shares, 0.5)


def _asked(column: pa.ListArray, count: int) -> NDArray[np.bool_]:
    """(clients, targets) whether a client is to be judged by a target."""
    lengths = np.diff(column.offsets.to_numpy())
    asked = np.zeros((len(column), count), bool)
    asked[np.repeat(np.arange(len(column)), lengths), column.flatten().to_numpy(zero_copy_only=False)] = True
    return asked


def _fits_of_target(
    block: ScoredBlock,
    items: InterestModel,
    graph: InteractionGraphSettings,
    target: FitTarget,
    place: int,
    shares: NDArray[np.float64],
    asked: NDArray[np.bool_],
    scales: tuple[NDArray[np.float32], NDArray[np.float32]],
) -> pa.RecordBatch:
    """Rows of the clients who are ``asked``; ``shares`` is (clients, items of the target)."""
    # The first of equal ones is the best below.
    order = np.lexsort((target.codes, -target.weights))
    codes, shares = target.codes[order], shares[:, order]
    counted = block.allowed[:, codes]
    weights = np.where(counted, target.weights[order], 0.0)
    total = weights.sum(axis=1)
    known = total > 0
    rows = np.arange(len(total))
    place_of_best = np.argmax(np.where(counted, shares, -1.0), axis=1)
    mean = (shares * weights).sum(axis=1) / np.maximum(total, 1e-300)
    # Rounded so that the order of equal fits does not hang on the last bit.
    fit = np.round(shares[rows, place_of_best] if target.by_best else mean, 9)
    best = codes[place_of_best]
    grounded = asked & known & (fit >= target.least)
    explicit = block.parts.explicit[rows, best].astype(np.float64)
    score = explicit + block.parts.implicit[rows, best]
    spoken_for = score > 0
    share = np.clip(explicit / np.where(spoken_for, score, 1.0), 0, 1)
    because = because_items(block.rows, best[:, None], grounded[:, None], items, block.weights, graph, scales)
    kept = np.flatnonzero(asked)
    place_of_ground = pa.array(np.cumsum(grounded)[kept] - 1, mask=~grounded[kept])

    def grounds(values: NDArray[np.float64]) -> pa.Array:
        return pa.array(values[kept], mask=~grounded[kept])

    has_history = np.diff(block.rows.column("codes").offsets.to_numpy()) > 0
    return pa.RecordBatch.from_pydict(
        {
            "user_id": block.rows.column("user_id").take(pa.array(kept)),
            "target": pa.array(np.full(len(kept), place, np.int32)),
            "fit": pa.array(fit[kept], mask=~known[kept]),
            "item_id": pa.array(items.item_ids[best[kept]].tolist(), pa.string(), mask=~grounded[kept]),
            "item_fit": grounds(shares[rows, place_of_best]),
            "explicit_share": grounds(np.where(spoken_for, share, 0.0)),
            "implicit_share": grounds(np.where(spoken_for, 1 - share, 0.0)),
            "because_items": because.take(place_of_ground),
            "has_history": has_history[kept],
        }
    )


def _kind_scales(block: ScoredBlock) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """(clients,) what the fusion divides followed_by and similar_meaning edges by."""
    interests, weights = block.interests, block.weights
    followed = semantic = np.ones(block.rows.num_rows, np.float32)
    if weights.followed:
        followed = _largest(
            interests.followed(weights.decay),
            interests.followed_by_group if weights.feedback else None,
            weights,
        )
    if weights.semantic:
        semantic = _largest(
            interests.semantic(weights.decay),
            interests.semantic_of_group if weights.feedback else None,
            weights,
        )
    return followed, semantic


def _largest(
    own: NDArray[np.float32], of_group: NDArray[np.float32] | None, weights: FusionWeights
) -> NDArray[np.float32]:
    largest: NDArray[np.float32] = (own if of_group is None else own + weights.feedback * of_group).max(
        axis=1
    )
    return largest
