"""Propagation of interest from the items of a client, or of a group, to all items: pure functions of arrays."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from scipy import sparse

from isrf_pipeline.interests.model import InterestModel

#: Popularity only orders what nothing else tells apart, and fills the lists of clients without history.
POPULARITY_PRIOR = 1e-4


@dataclass(frozen=True)
class FusionWeights:
    """How the parts of the score are added.

    Attributes
    ----------
    semantic
        Weight of similar_meaning edges against followed_by edges.
    implicit
        Weight of group interest against explicit interest.
    feedback
        Weight of group interest as further input of explicit propagation.
    sequence
        Weight of what the sequence model expects next.
    followed
        Weight of followed_by edges.
    generator
        Weight of what the generator writes.
    decay
        Weight of one more step back in the history that is propagated.
    """

    semantic: float
    implicit: float
    feedback: float
    sequence: float = 0.0
    followed: float = 1.0
    generator: float = 0.0
    decay: float = 0.6


@dataclass(frozen=True)
class ScoreParts:
    """Dense (clients, items) float32 parts of the score; the score is their sum.

    Attributes
    ----------
    explicit
        From the client's own history.
    implicit
        From the group: its own items, its feedback through the graph, and everybody's popularity.
    """

    explicit: NDArray[np.float32]
    implicit: NDArray[np.float32]


@dataclass(frozen=True)
class BlockInterests:
    """What is known of a block of clients, each a (clients, items) float32 matrix, and where it leads to.

    What is propagated over an edge kind is computed when it is first asked for and then kept: fusions that differ in
    weights alone, and the features of the ranker, share it. Nobody may write into what is returned.

    Attributes
    ----------
    model
        Item edges and popularity.
    histories
        Recency-weighted histories by their decay, sparse.
    group
        Group interest, largest value of a row 1, sparse.
    group_head
        The strongest items of it, which are fed back: the tail is long and says little. Sparse.
    sequence
        What the sequence model expects next, as a probability divided by its largest, dense; None without the model.
        Zero for clients without a history.
    generated
        Probability that the generator writes an item, divided by its largest for the client; sparse, since the search
        follows but a few. None without the generator.
    """

    model: InterestModel
    histories: Mapping[float, sparse.csr_matrix]
    group: sparse.csr_matrix
    group_head: sparse.csr_matrix
    sequence: NDArray[np.float32] | None = None
    generated: sparse.csr_matrix | None = None
    _kept: dict[tuple[str, float], NDArray[np.float32]] = field(default_factory=dict, repr=False)

    def followed(self, decay: float) -> NDArray[np.float32]:
        """What followed the items of the histories with that decay; dense."""
        return self._propagated("followed", decay)

    def semantic(self, decay: float) -> NDArray[np.float32]:
        """What is near in meaning to the items of the histories with that decay; dense."""
        return self._propagated("semantic", decay)

    @functools.cached_property
    def followed_by_group(self) -> NDArray[np.float32]:
        """What followed the items that the group is most interested in; dense."""
        return _dense_product(self.group_head, self.model.followed)

    @functools.cached_property
    def semantic_of_group(self) -> NDArray[np.float32]:
        """What is near in meaning to the items that the group is most interested in; dense."""
        return _dense_product(self.group_head, self.model.semantic)

    @functools.cached_property
    def dense_group(self) -> NDArray[np.float32]:
        """The group's interest, dense."""
        return np.asarray(self.group.toarray(), np.float32)

    def _propagated(self, kind: str, decay: float) -> NDArray[np.float32]:
        if (kind, decay) not in self._kept:
            edges = self.model.followed if kind == "followed" else self.model.semantic
            self._kept[kind, decay] = _dense_product(self.histories[decay], edges)
        return self._kept[kind, decay]


def _dense_product(interest: sparse.csr_matrix, edges: sparse.csr_matrix) -> NDArray[np.float32]:
    return np.asarray((interest @ edges).toarray(), np.float32)


def rows_to_csr(codes: pa.ListArray, values: NDArray[np.float32], n_items: int) -> sparse.csr_matrix:
    """Lists of item codes and their values, row by row, as a (rows, n_items) matrix; repeated codes add up."""
    offsets = codes.offsets.to_numpy().astype(np.int64)
    indices = codes.flatten().to_numpy(zero_copy_only=False)
    matrix = sparse.csr_matrix(
        (values.astype(np.float32), indices.astype(np.int32), offsets - offsets[0]),
        shape=(len(codes), n_items),
    )
    # A product adds up what is repeated in linear time and in the given order; sum_duplicates would sort.
    return matrix @ sparse.identity(n_items, np.float32, format="csr")


def history_matrix(
    codes: pa.ListArray, weights: pa.ListArray, n_items: int, decay: float, window: int
) -> sparse.csr_matrix:
    """Newest-first histories as recency-weighted rows.

    Parameters
    ----------
    codes, weights
        Item codes and event weights, newest first.
    n_items
        Number of items.
    decay
        Weight of one more step back.
    window
        Steps back that count at all.

    Returns
    -------
    sparse.csr_matrix
        (clients, n_items) float32; the newest item of a client weighs its event weight.
    """
    lengths = np.diff(codes.offsets.to_numpy())
    steps = np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    values = weights.flatten().to_numpy(zero_copy_only=False).astype(np.float32) * decay**steps
    values[steps >= window] = 0
    matrix = rows_to_csr(codes, values.astype(np.float32), n_items)
    matrix.eliminate_zeros()
    return matrix


def score_parts(interests: BlockInterests, weights: FusionWeights) -> ScoreParts:
    """Add up explicit and implicit interest.

    Explicit interest is propagated over both kinds of item edges from ``history + feedback * head of group``; each
    kind is divided by its largest value for the client so that the weights mean the same for every client. What came
    in through the feedback is implicit interest, since the client has not shown it. What the networks expect counts as
    explicit: it follows from the client's own history.

    Parameters
    ----------
    interests
        What is known of each client.
    weights
        Weights of the parts.
    """
    history = interests.histories[weights.decay]
    explicit = np.zeros(history.shape, np.float32)
    implicit = np.zeros(history.shape, np.float32)
    if weights.followed:
        passed_on = interests.followed_by_group if weights.feedback else None
        own = interests.followed(weights.decay)
        _add_kind(explicit, implicit, own, passed_on, weights.feedback, weights.followed)
    if weights.semantic:
        passed_on = interests.semantic_of_group if weights.feedback else None
        own = interests.semantic(weights.decay)
        _add_kind(explicit, implicit, own, passed_on, weights.feedback, weights.semantic)
    if weights.sequence and interests.sequence is not None:
        explicit += weights.sequence * interests.sequence
    if weights.generator and interests.generated is not None:
        explicit += weights.generator * interests.generated.toarray()
    # Who has shown nothing has nothing but the group, whatever it is worth to others.
    silent = np.diff(history.indptr) == 0
    group_weights = np.where(silent, np.maximum(weights.implicit, 1.0), weights.implicit).astype(np.float32)
    if group_weights.any():
        implicit += group_weights[:, None] * interests.dense_group
    popularity = interests.model.popularity
    implicit += POPULARITY_PRIOR * popularity / max(float(popularity.max(initial=0)), 1.0)
    return ScoreParts(explicit, implicit)


def _add_kind(
    explicit: NDArray[np.float32],
    implicit: NDArray[np.float32],
    own: NDArray[np.float32],
    of_group: NDArray[np.float32] | None,
    feedback: float,
    weight: float,
) -> None:
    """Add one edge kind to both parts of the score, in place; see :func:`score_parts`."""
    if of_group is None:
        explicit += own * (weight / np.maximum(own.max(axis=1, keepdims=True), 1e-9))
        return
    passed_on = feedback * of_group
    scale = weight / np.maximum((own + passed_on).max(axis=1, keepdims=True), 1e-9)
    explicit += own * scale
    implicit += passed_on * scale


def explicit_scores(
    history: sparse.csr_matrix,
    group: sparse.csr_matrix,
    model: InterestModel,
    semantic: float,
    feedback: float,
) -> sparse.csr_matrix:
    """Explicit interest including feedback, sparse, largest value of a row 1 a kind of edge."""
    source = (history + feedback * group).tocsr()
    total = normalise_rows(source @ model.followed)
    if semantic:
        total = total + semantic * normalise_rows(source @ model.semantic)
    return total.tocsr()


def normalise_rows(matrix: sparse.csr_matrix) -> sparse.csr_matrix:
    """Divide each row by its largest value; a row without a positive value stays as it is."""
    matrix = matrix.tocsr()
    lengths = np.diff(matrix.indptr)
    largest = np.ones(matrix.shape[0], np.float32)
    filled = np.flatnonzero(lengths)
    if len(filled):
        # scipy's own max sorts all indices first.
        largest[filled] = np.maximum.reduceat(matrix.data, matrix.indptr[filled])
    scale = 1 / np.where(largest > 0, largest, 1).astype(np.float32)
    return sparse.csr_matrix(
        (matrix.data * np.repeat(scale, lengths), matrix.indices, matrix.indptr), shape=matrix.shape
    )


def strongest(matrix: sparse.csr_matrix, count: int) -> tuple[pa.ListArray, pa.ListArray]:
    """Each row's ``count`` largest entries, largest first, ties to the smaller code.

    Returns
    -------
    tuple of pa.ListArray
        Codes (int32) and values (float32).
    """
    matrix = matrix.tocsr()
    kept = np.ones(matrix.nnz, dtype=bool)
    for row in np.flatnonzero(np.diff(matrix.indptr) > count):
        start, stop = matrix.indptr[row], matrix.indptr[row + 1]
        values = matrix.data[start:stop]
        # All that equal the last one admitted stay in: the sort below decides between them by code.
        kept[start:stop] = values >= np.partition(values, len(values) - count)[len(values) - count]
    rows = np.repeat(np.arange(matrix.shape[0]), np.diff(matrix.indptr))[kept]
    codes, values = matrix.indices[kept], matrix.data[kept]
    order = np.lexsort((codes, -values, rows))
    rows, codes, values = rows[order], codes[order], values[order]
    lengths = np.bincount(rows, minlength=matrix.shape[0])
    place = np.arange(len(rows)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    listed = place < count
    lengths = np.minimum(lengths, count)
    offsets = pa.array(np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32), pa.int32())
    return (
        pa.ListArray.from_arrays(offsets, pa.array(codes[listed].astype(np.int32))),
        pa.ListArray.from_arrays(offsets, pa.array(values[listed].astype(np.float32))),
    )
