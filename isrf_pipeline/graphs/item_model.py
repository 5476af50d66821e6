"""The sequential item-item model: which item follows which, learned from sequences and meaning together.

It is a ridge regression with a closed form. One row per prefix of a training history: ``x`` holds the last items,
``y`` the next ones, both weighted by ``decay`` per step; ``F`` is the client-item matrix and ``E`` the centred unit
embeddings of the items. With

    A = X'X + a F'F + s EE' + r I,    C = X'Y + a F'F + s EE',    P = A^-1,    B = P C,

``B -= P diag(B_jj / P_jj)`` then forbids an item to predict itself, as EASE does (Steck, "Embarrassingly Shallow
Autoencoders for Sparse Data", WWW 2019). ``B`` is item-sized: it is solved on the driver and kept as edges.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from scipy import linalg, sparse

from isrf_pipeline.config.settings import InteractionGraphSettings

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

#: Rows of the co-occurrence matrices that travel together as one packed block.
_BLOCK_ITEMS = 1024
_PACKED = "block int, part string, indptr binary, indices binary, data binary"
_PARTS = ("xx", "xy", "ff")


@dataclass(frozen=True)
class SequenceMoments:
    """Sums over all training histories; each is an (items, items) float32 sparse matrix.

    Attributes
    ----------
    xx, xy, ff
        ``X'X``, ``X'Y`` and ``F'F`` of the module's formula.
    """

    xx: sparse.csr_matrix
    xy: sparse.csr_matrix
    ff: sparse.csr_matrix


def sequence_moments(
    histories: DataFrame, n_items: int, settings: InteractionGraphSettings
) -> SequenceMoments:
    """Sum ``X'X``, ``X'Y`` and ``F'F`` over all clients.

    Clients stay distributed: each task reduces its own to packed sparse blocks, blocks are added by key, and only
    the item-sized sums reach the driver.

    Parameters
    ----------
    histories
        Columns user_id and codes (array<int>: item codes, oldest first).
    n_items
        Number of items.
    settings
        Window and decay.
    """
    window, decay = settings.window, settings.decay

    def reduce_clients(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        total: dict[str, sparse.csr_matrix] = {}
        for batch in batches:
            lists = batch.column("codes")
            lengths = np.diff(lists.offsets.to_numpy()) if len(lists) else np.zeros(0, np.int64)
            codes = lists.flatten().to_numpy(zero_copy_only=False).astype(np.int32)
            for part, matrix in zip(_PARTS, _moments_of(codes, lengths, n_items, window, decay), strict=True):
                total[part] = matrix if part not in total else total[part] + matrix
        for part, matrix in total.items():
            yield from _pack(part, matrix)

    def add_blocks(table: pa.Table) -> pa.Table:
        matrices = [_unpack(row, n_items) for row in table.to_pylist()]
        summed = matrices[0]
        for matrix in matrices[1:]:
            summed = summed + matrix
        first = table.slice(0, 1).to_pylist()[0]
        return pa.Table.from_batches([_packed_row(first["block"], first["part"], summed)])

    packed = (
        histories.select("codes")
        .mapInArrow(reduce_clients, _PACKED)
        .groupBy("block", "part")
        .applyInArrow(add_blocks, _PACKED)
        .toArrow()
    )
    sums = {part: sparse.csr_matrix((n_items, n_items), dtype=np.float32) for part in _PARTS}
    rows = sorted(packed.to_pylist(), key=lambda row: row["block"])
    for part in _PARTS:
        blocks = {row["block"]: _unpack(row, n_items) for row in rows if row["part"] == part}
        if blocks:
            sums[part] = sparse.vstack(
                [
                    blocks.get(
                        b,
                        sparse.csr_matrix(
                            (min(_BLOCK_ITEMS, n_items - b * _BLOCK_ITEMS), n_items), dtype=np.float32
                        ),
                    )
                    for b in range(-(-n_items // _BLOCK_ITEMS))
                ],
                format="csr",
            )
    return SequenceMoments(sums["xx"], sums["xy"], sums["ff"])


def solve_closed_form(
    moments: SequenceMoments, embeddings: NDArray[np.float32], settings: InteractionGraphSettings
) -> sparse.csr_matrix:
    """Solve the ridge regression exactly and keep each item's strongest positive successors.

    Memory is two dense (items, items) float32 matrices on the driver, time grows with the cube of the items.

    Parameters
    ----------
    moments
        Sums over training histories.
    embeddings
        (items, dimensions) unit embeddings.
    settings
        Weights of the kernel and of the ridge, and how many edges an item keeps.

    Returns
    -------
    sparse.csr_matrix
        (items, items) float32; row = item in the history, column = item to recommend.
    """
    n = moments.xx.shape[0]
    centred = _centred(embeddings)
    shared = settings.cooccurrence_weight * moments.ff
    # The matrix is symmetric, so the transposed view is the column order that LAPACK wants, without a copy.
    gram = (moments.xx + shared).astype(np.float32).toarray().T
    gram = linalg.blas.sgemm(
        settings.semantic_weight, centred, centred, beta=1, c=gram, trans_b=1, overwrite_c=1
    )
    gram[np.diag_indices(n)] += settings.ridge
    factor = linalg.cholesky(gram, lower=True, overwrite_a=True, check_finite=False)
    inverse, failed = linalg.lapack.spotri(factor, lower=1, overwrite_c=1)
    if failed:
        raise np.linalg.LinAlgError(f"the item-item model has no solution (spotri returned {failed})")
    _mirror_lower(inverse)
    # P times (sparse + low rank) costs far less than P times a dense matrix.
    behaviour = (moments.xy + shared).T.tocsr().astype(np.float32)
    solution = _sparse_times_dense(behaviour, inverse.T).T
    solution = linalg.blas.sgemm(
        settings.semantic_weight, inverse @ centred, centred, beta=1, c=solution, trans_b=1, overwrite_c=1
    )
    solution -= inverse * (np.diag(solution) / np.diag(inverse))[None, :]
    solution[np.diag_indices(n)] = 0
    del inverse, gram, factor
    return sparse.vstack(
        [
            strongest_per_row(solution[start : start + _BLOCK_ITEMS], settings.edges_per_item)
            for start in range(0, n, _BLOCK_ITEMS)
        ],
        format="csr",
    )


def _mirror_lower(matrix: NDArray[np.float32]) -> None:
    """Copy the lower triangle over the upper one in place, block by block so that no second matrix is needed."""
    n = matrix.shape[0]
    for start in range(0, n, _BLOCK_ITEMS):
        stop = min(start + _BLOCK_ITEMS, n)
        corner = matrix[start:stop, start:stop]
        matrix[start:stop, start:stop] = np.tril(corner) + np.tril(corner, -1).T
        matrix[start:stop, stop:] = matrix[stop:, start:stop].T


def _sparse_times_dense(left: sparse.csr_matrix, right: NDArray[np.float32]) -> NDArray[np.float32]:
    """``left @ right`` with row blocks on all cores (scipy multiplies on one and releases the interpreter lock)."""
    blocks = range(0, left.shape[0], _BLOCK_ITEMS)
    product = np.empty((left.shape[0], right.shape[1]), np.float32)

    def multiply(start: int) -> None:
        product[start : start + _BLOCK_ITEMS] = left[start : start + _BLOCK_ITEMS] @ right

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(multiply, blocks))
    return product


def transition_graph(moments: SequenceMoments, settings: InteractionGraphSettings) -> sparse.csr_matrix:
    """Transitions normalised by degree: what stands in for the closed form where the catalogue is too large for it.

    Returns
    -------
    sparse.csr_matrix
        (items, items) float32, each side divided by sqrt(degree + 5), cut to the strongest edges of each row.
    """
    degree = np.asarray(moments.ff.diagonal()) + 5.0
    scale = sparse.diags(1 / np.sqrt(degree)).astype(np.float32)
    both = (moments.xy + 0.5 * moments.xy.T).tocsr()
    both.setdiag(0)
    both.eliminate_zeros()
    scaled = (scale @ both @ scale).tocsr().astype(np.float32)
    return _cut_sparse(scaled, settings.edges_per_item)


def semantic_neighbours(embeddings: NDArray[np.float32], count: int, block: int = 2048) -> sparse.csr_matrix:
    """Nearest items by meaning, the cosine raised to the fourth power so that only close ones weigh.

    Parameters
    ----------
    embeddings
        (items, dimensions) unit embeddings.
    count
        Neighbours of each item.
    block
        Rows compared at once.

    Returns
    -------
    sparse.csr_matrix
        (items, items) float32.
    """
    n = embeddings.shape[0]
    parts = []
    for start in range(0, n, block):
        rows = embeddings[start : start + block]
        similarity = rows @ embeddings.T
        similarity[np.arange(len(rows)), np.arange(start, start + len(rows))] = 0
        np.maximum(similarity, 0, out=similarity)
        parts.append(strongest_per_row(similarity**4, count))
    return sparse.vstack(parts, format="csr") if parts else sparse.csr_matrix((0, 0), dtype=np.float32)


def strongest_per_row(dense: NDArray[np.float32], count: int) -> sparse.csr_matrix:
    """Keep each row's ``count`` largest positive entries."""
    rows, columns = dense.shape
    count = min(count, columns)
    if count == 0:
        return sparse.csr_matrix(dense.shape, dtype=np.float32)
    top = np.argpartition(dense, columns - count, axis=1)[:, columns - count :]
    top.sort(axis=1)
    values = np.take_along_axis(dense, top, axis=1)
    indptr = np.arange(0, rows * count + 1, count)
    matrix = sparse.csr_matrix(
        (np.maximum(values, 0).ravel().astype(np.float32), top.ravel(), indptr), shape=dense.shape
    )
    matrix.eliminate_zeros()
    return matrix


def _cut_sparse(matrix: sparse.csr_matrix, count: int) -> sparse.csr_matrix:
    for row in np.flatnonzero(np.diff(matrix.indptr) > count):
        values = matrix.data[matrix.indptr[row] : matrix.indptr[row + 1]]
        values[np.argsort(-values, kind="stable")[count:]] = 0
    matrix.eliminate_zeros()
    return matrix


def _centred(embeddings: NDArray[np.float32]) -> NDArray[np.float32]:
    centred = embeddings - embeddings.mean(axis=0, keepdims=True)
    norms = np.linalg.norm(centred, axis=1, keepdims=True)
    return np.ascontiguousarray(centred / np.maximum(norms, 1e-9), dtype=np.float32)


def _moments_of(
    codes: NDArray[np.int32], lengths: NDArray[np.int64], n_items: int, window: int, decay: float
) -> tuple[sparse.csr_matrix, sparse.csr_matrix, sparse.csr_matrix]:
    """Moments of some clients' histories, given one after the other in ``codes``."""
    starts = np.cumsum(lengths) - lengths
    owner = np.repeat(np.arange(len(lengths)), lengths)
    position = np.arange(len(codes)) - starts[owner]
    # A prefix ends at every event but a history's last.
    ends = np.flatnonzero(position < lengths[owner] - 1)
    x_rows, x_columns, x_values = [], [], []
    y_rows, y_columns, y_values = [], [], []
    prefix = np.arange(len(ends))
    for step in range(window):
        back = position[ends] >= step
        x_rows.append(prefix[back])
        x_columns.append(codes[ends[back] - step])
        x_values.append(np.full(int(back.sum()), decay**step, np.float32))
        ahead = position[ends] + 1 + step < lengths[owner[ends]]
        y_rows.append(prefix[ahead])
        y_columns.append(codes[ends[ahead] + 1 + step])
        y_values.append(np.full(int(ahead.sum()), decay**step, np.float32))
    shape = (len(ends), n_items)
    x = _coo(x_rows, x_columns, x_values, shape)
    y = _coo(y_rows, y_columns, y_values, shape)
    f = sparse.csr_matrix((np.ones(len(codes), np.float32), (owner, codes)), shape=(len(lengths), n_items))
    f.data[:] = np.minimum(f.data, 1)
    return (x.T @ x).tocsr(), (x.T @ y).tocsr(), (f.T @ f).tocsr()


def _coo(rows: list[Any], columns: list[Any], values: list[Any], shape: tuple[int, int]) -> sparse.csr_matrix:
    return sparse.csr_matrix(
        (np.concatenate(values), (np.concatenate(rows), np.concatenate(columns))), shape=shape
    )


def _pack(part: str, matrix: sparse.csr_matrix) -> Iterator[pa.RecordBatch]:
    for block in range(-(-matrix.shape[0] // _BLOCK_ITEMS)):
        rows = matrix[block * _BLOCK_ITEMS : (block + 1) * _BLOCK_ITEMS]
        if rows.nnz:
            yield _packed_row(block, part, rows)


def _packed_row(block: int, part: str, rows: sparse.csr_matrix) -> pa.RecordBatch:
    return pa.RecordBatch.from_pydict(
        {
            "block": pa.array([block], pa.int32()),
            "part": [part],
            "indptr": [rows.indptr.astype(np.int64).tobytes()],
            "indices": [rows.indices.astype(np.int32).tobytes()],
            "data": [rows.data.astype(np.float64).tobytes()],
        }
    )


def _unpack(row: dict[str, Any], n_items: int) -> sparse.csr_matrix:
    indptr = np.frombuffer(row["indptr"], np.int64)
    return sparse.csr_matrix(
        (np.frombuffer(row["data"], np.float64), np.frombuffer(row["indices"], np.int32), indptr),
        shape=(len(indptr) - 1, n_items),
    )
