"""The sequential item-item model: which item follows which, learned from sequences and meaning together.

It is a ridge regression with a closed form. One row per prefix of a training history: ``x`` holds the last items,
``y`` the next ones, both weighted by ``decay`` per step; ``F`` is the client-item matrix and ``E`` holds the items'
embeddings, field by field (:func:`kernel_factor`). With

    A = X'X + a F'F + s EE' + r I,    C = X'Y + a F'F + s EE',    P = A^-1,    B = P C,

``B -= P diag(B_jj / P_jj)`` then forbids an item to predict itself, as EASE does (Steck, "Embarrassingly Shallow
Autoencoders for Sparse Data", WWW 2019). ``B`` is item-sized: it is solved on the driver and kept as edges.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray
from scipy import linalg, sparse

from isrf_pipeline.config.settings import InteractionGraphSettings
from isrf_pipeline.graphs.inversion import invert_positive_definite
from isrf_pipeline.graphs.moments import SequenceMoments

#: Rows of dense matrices that are worked on at once.
_BLOCK_ITEMS = 1024


def kernel_factor(fields: Sequence[tuple[NDArray[np.float32], float]]) -> NDArray[np.float32]:
    """Factor of the kernel that averages how alike two items are in each field.

    Parameters
    ----------
    fields
        (items, dimensions) embeddings of a field, zero for items without it, and the field's weight. Rows are centred
        and brought to unit length times the weight; a field that no item has does not count.

    Returns
    -------
    ndarray
        (items, dimensions of all fields): products of its rows are means of the fields' cosines by squared weight,
        where an absent field is like nothing.
    """
    used = [(rows, weight) for rows, weight in fields if weight > 0 and np.any(rows)]
    total = sum(weight**2 for _, weight in used) ** 0.5
    parts = []
    for rows, weight in used:
        present = np.any(rows != 0, axis=1, keepdims=True)
        centred = np.where(present, rows - rows.sum(axis=0) / present.sum(), 0)
        norms = np.linalg.norm(centred, axis=1, keepdims=True)
        parts.append(weight / total * centred / np.maximum(norms, 1e-9))
    empty = np.zeros((len(fields[0][0]), 1))
    return np.ascontiguousarray(np.hstack(parts or [empty]), dtype=np.float32)


def solve_closed_form(
    moments: SequenceMoments, kernel: NDArray[np.float32], settings: InteractionGraphSettings
) -> sparse.csr_matrix:
    """Solve the ridge regression exactly and keep each item's strongest positive successors.

    Memory is two dense (items, items) float32 matrices on the driver, time grows with the cube of the items.

    Parameters
    ----------
    moments
        Sums over training histories.
    kernel
        (items, dimensions) factor ``E`` of the semantic kernel, see :func:`kernel_factor`.
    settings
        Weights of the kernel and of the ridge, and how many edges an item keeps.

    Returns
    -------
    sparse.csr_matrix
        (items, items) float32; row = item in the history, column = item to recommend.
    """
    n = moments.xx.shape[0]
    shared = settings.cooccurrence_weight * moments.ff
    # The matrix is symmetric, so the transposed view is the column order that LAPACK wants, without a copy.
    gram = (moments.xx + shared).astype(np.float32).toarray().T
    gram = linalg.blas.sgemm(
        settings.semantic_weight, kernel, kernel, beta=1, c=gram, trans_b=1, overwrite_c=1
    )
    gram[np.diag_indices(n)] += settings.ridge
    inverse = invert_positive_definite(gram)
    # P times (sparse + low rank) costs far less than P times a dense matrix.
    behaviour = (moments.xy + shared).T.tocsr().astype(np.float32)
    solution = _sparse_times_dense(behaviour, inverse.T).T
    solution = linalg.blas.sgemm(
        settings.semantic_weight, inverse @ kernel, kernel, beta=1, c=solution, trans_b=1, overwrite_c=1
    )
    solution -= inverse * (np.diag(solution) / np.diag(inverse))[None, :]
    solution[np.diag_indices(n)] = 0
    del inverse, gram
    return _strongest_in_blocks(n, lambda rows: strongest_per_row(solution[rows], settings.edges_per_item))


def _strongest_in_blocks(n: int, edges_of: Callable[[slice], sparse.csr_matrix]) -> sparse.csr_matrix:
    """Edges of ``n`` items, block by block on all cores: numpy selects on one and releases the interpreter lock."""
    if n == 0:
        return sparse.csr_matrix((0, 0), dtype=np.float32)
    blocks = [slice(start, min(start + _BLOCK_ITEMS, n)) for start in range(0, n, _BLOCK_ITEMS)]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return sparse.vstack(list(pool.map(edges_of, blocks)), format="csr")


def _sparse_times_dense(left: sparse.csr_matrix, right: NDArray[np.float32]) -> NDArray[np.float32]:
    """``left @ right`` with row blocks on all cores (scipy multiplies on one and releases the interpreter lock)."""
    blocks = range(0, left.shape[0], _BLOCK_ITEMS)
    product = np.empty((left.shape[0], right.shape[1]), np.float32)

    def multiply(start: int) -> None:
        product[start : start + _BLOCK_ITEMS] = left[start : start + _BLOCK_ITEMS] @ right

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(multiply, blocks))
    return product


def semantic_neighbours(embeddings: NDArray[np.float32], count: int) -> sparse.csr_matrix:
    """Nearest items by meaning, the cosine raised to the fourth power so that only close ones weigh.

    Parameters
    ----------
    embeddings
        (items, dimensions) unit embeddings.
    count
        Neighbours of each item.

    Returns
    -------
    sparse.csr_matrix
        (items, items) float32.
    """

    def nearest(rows: slice) -> sparse.csr_matrix:
        similarity = embeddings[rows] @ embeddings.T
        similarity[np.arange(len(similarity)), np.arange(rows.start, rows.stop)] = 0
        kept = strongest_per_row(similarity, count)
        kept.data **= 4
        return kept

    return _strongest_in_blocks(len(embeddings), nearest)


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
