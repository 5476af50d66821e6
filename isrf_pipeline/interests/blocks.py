"""Blocks of clients against the item model: what is known of them, the parts of their scores, what may be listed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

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
    rows_to_csr,
    score_parts,
)
from isrf_pipeline.interests.rounds import group_matrix
from isrf_pipeline.sequences.model import newest_steps


@dataclass(frozen=True)
class ScoredBlock:
    """A block of clients, small enough for dense matrices.

    Attributes
    ----------
    rows
        The clients: columns user_id, codes, weights, group_codes, group_values, excluded and whatever else came along.
    weights
        Of the fixed fusion.
    interests
        What is known of them.
    parts
        (clients, items) parts of the fixed fusion.
    allowed
        (clients, items) whether an item may be listed.
    """

    rows: pa.RecordBatch
    weights: FusionWeights
    interests: BlockInterests
    parts: ScoreParts
    allowed: NDArray[np.bool_]


def scored_blocks(
    batches: Iterator[pa.RecordBatch],
    items: InterestModel,
    weights: FusionWeights,
    graph: InteractionGraphSettings,
    optimize: OptimizeSettings,
    only_available: bool = False,
) -> Iterator[ScoredBlock]:
    """Score clients block by block.

    Parameters
    ----------
    batches
        See :func:`isrf_pipeline.interests.ranking.rank_items`.
    items
        The item model.
    weights
        Of the fixed fusion.
    graph, optimize
        Window of the history and size of the feedback.
    only_available
        Whether only available items may be listed.
    """
    for rows in blocks_of(batches, items):
        interests = block_interests(rows, items, graph, optimize, [weights.decay])
        parts = score_parts(interests, weights)
        allowed = np.ones(parts.explicit.shape, bool)
        if only_available:
            allowed[:, ~items.available] = False
        for row, codes in enumerate(excluded_codes(rows)):
            allowed[row, codes] = False
        yield ScoredBlock(rows, weights, interests, parts, allowed)


def blocks_of(batches: Iterator[pa.RecordBatch], items: InterestModel) -> Iterator[pa.RecordBatch]:
    """Cut batches so that a dense (clients, items) matrix stays within a core's cache."""
    for batch in batches:
        for start in range(0, batch.num_rows, items.rows_at_once):
            yield batch.slice(start, items.rows_at_once)


def block_interests(
    block: pa.RecordBatch,
    items: InterestModel,
    graph: InteractionGraphSettings,
    optimize: OptimizeSettings,
    decays: Iterable[float],
) -> BlockInterests:
    """History and group interest of one block of clients, as matrices.

    Parameters
    ----------
    block
        Columns codes, weights, group_codes and group_values; with a generator, generated_codes and generated_values.
    items
        The item model.
    graph, optimize
        Window of the history and size of the feedback.
    decays
        Weights of one more step back that fusions are to use.
    """
    codes, values = block.column("codes"), block.column("weights")
    return BlockInterests(
        items,
        {decay: history_matrix(codes, values, items.n_items, decay, graph.window) for decay in set(decays)},
        group_matrix(block, items.n_items),
        group_matrix(block, items.n_items, optimize.guide_items),
        _expected_next(block, items),
        _generated(block, items.n_items),
    )


def _expected_next(block: pa.RecordBatch, items: InterestModel) -> NDArray[np.float32] | None:
    if items.sequence is None:
        return None
    lists = block.column("codes")
    lengths = np.diff(lists.offsets.to_numpy()).astype(np.int64)
    flat = lists.flatten().to_numpy(zero_copy_only=False).astype(np.int32)
    codes, counted = newest_steps(flat, lengths, items.sequence.steps)
    logits = items.sequence.logits(codes, counted)
    logits -= logits.max(axis=1, keepdims=True)
    np.exp(logits, out=logits)
    logits[counted == 0] = 0
    return logits


def _generated(block: pa.RecordBatch, n_items: int) -> sparse.csr_matrix | None:
    if "generated_codes" not in block.schema.names:
        return None
    values = block.column("generated_values").flatten().to_numpy(zero_copy_only=False)
    return rows_to_csr(block.column("generated_codes"), values, n_items)


def excluded_codes(block: pa.RecordBatch) -> list[NDArray[np.int32]]:
    """Codes of each client's column ``excluded``."""
    return code_lists(block, "excluded")


def code_lists(block: pa.RecordBatch, column: str) -> list[NDArray[np.int32]]:
    """Item codes of each client's list in a column."""
    lists = block.column(column)
    offsets = lists.offsets.to_numpy()
    codes = lists.flatten().to_numpy(zero_copy_only=False).astype(np.int32)
    return np.split(codes, offsets[1:-1] - offsets[0]) if len(lists) else []
