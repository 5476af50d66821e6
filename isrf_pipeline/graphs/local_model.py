"""The item-item model solved item by item, on Spark: for catalogues whose closed form no machine holds.

The model of :mod:`isrf_pipeline.graphs.item_model` forbids an item to predict itself, so its column for item ``j`` is
the ridge regression of ``j`` on all other items. Here that regression is on the items that have most to say of ``j``
alone: the closest by behaviour and the closest by meaning. With all items as neighbours it is the closed form itself.
Work grows with the number of items, apart from the search for what is close in meaning, which compares all with all.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from scipy import linalg, sparse

from isrf_pipeline.config.settings import InteractionGraphSettings
from isrf_pipeline.graphs.moments import SequenceMoments

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

_SOLVED = "target int, sources binary, weights binary"
#: Numbers in the largest matrix of similarities that a task holds.
_NUMBERS_AT_ONCE = 2**24
#: Items of one task; small enough that tasks end together.
_ITEMS_A_TASK = 512
#: Added to the number of an item's clients where behaviour is compared, so that a single client in common says little.
_DAMPING = 5.0


@dataclass(frozen=True)
class LocalProblem:
    """What every task needs of the whole catalogue.

    Attributes
    ----------
    gram
        (items, items) sparse: ``X'X + a F'F``.
    behaviour
        (items, items) sparse: ``X'Y + a F'F``, by column of the item that is foretold.
    closeness
        (items, items) sparse, by column: ``behaviour`` over the root of the number of the row's clients; chooses
        neighbours.
    kernel
        (items, dimensions) factor of the semantic kernel.
    """

    gram: sparse.csr_matrix
    behaviour: sparse.csc_matrix
    closeness: sparse.csc_matrix
    kernel: NDArray[np.float32]

    @classmethod
    def of(
        cls, moments: SequenceMoments, kernel: NDArray[np.float32], settings: InteractionGraphSettings
    ) -> LocalProblem:
        """From the sums over histories."""
        shared = settings.cooccurrence_weight * moments.ff
        behaviour = (moments.xy + shared).astype(np.float32).tocsc()
        scale = sparse.diags(1 / np.sqrt(moments.ff.diagonal() + _DAMPING)).astype(np.float32)
        return cls(
            (moments.xx + shared).astype(np.float32).tocsr(),
            behaviour,
            (scale @ behaviour).tocsc(),
            kernel,
        )


def solve_locally(
    spark: SparkSession,
    moments: SequenceMoments,
    kernel: NDArray[np.float32],
    settings: InteractionGraphSettings,
) -> sparse.csr_matrix:
    """Solve the model for each item over its neighbours and keep each item's strongest positive successors.

    Parameters
    ----------
    spark
        Session whose executors solve.
    moments
        Sums over training histories.
    kernel
        See :func:`isrf_pipeline.graphs.item_model.kernel_factor`.
    settings
        Weights of the kernel and of the ridge, number of neighbours, and how many edges an item keeps.

    Returns
    -------
    sparse.csr_matrix
        (items, items) float32; row = item in the history, column = item to recommend.
    """
    n = kernel.shape[0]
    problem = spark.sparkContext.broadcast(LocalProblem.of(moments, kernel, settings))

    def solve(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            targets = batch.column("id").to_numpy().astype(np.int64)
            at_once = max(1, _NUMBERS_AT_ONCE // n)
            for start in range(0, len(targets), at_once):
                block = targets[start : start + at_once]
                solved = list(columns_of(problem.value, block, settings))
                yield pa.RecordBatch.from_pydict(
                    {
                        "target": block.astype(np.int32),
                        "sources": [sources.astype(np.int32).tobytes() for sources, _ in solved],
                        "weights": [weights.astype(np.float32).tobytes() for _, weights in solved],
                    }
                )

    tasks = max(1, -(-n // _ITEMS_A_TASK))
    rows = spark.range(0, n, 1, tasks).mapInArrow(solve, _SOLVED).toArrow().sort_by("target")
    problem.unpersist()
    sources = [np.frombuffer(part, np.int32) for part in rows.column("sources").to_pylist()]
    weights = [np.frombuffer(part, np.float32) for part in rows.column("weights").to_pylist()]
    indptr = np.concatenate([[0], np.cumsum([len(part) for part in sources])])
    solution = sparse.csc_matrix(
        (np.concatenate([*weights, []]), np.concatenate([*sources, []]).astype(np.int32), indptr),
        shape=(n, n),
        dtype=np.float32,
    )
    return strongest_entries(solution.tocsr(), settings.edges_per_item)


def columns_of(
    problem: LocalProblem, targets: NDArray[np.int64], settings: InteractionGraphSettings
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float32]]]:
    """Items that foretell each target, and how strongly; only what is positive.

    Parameters
    ----------
    problem
        The catalogue.
    targets
        Item codes.
    settings
        Number of neighbours and weights.
    """
    n = len(problem.kernel)
    count = min(settings.local_neighbours, n - 1)
    alike = problem.kernel[targets] @ problem.kernel.T
    place = np.full(n, -1, np.int64)
    for row, target in enumerate(targets):
        chosen = _neighbours(problem, int(target), alike[row], count)
        place[chosen] = np.arange(len(chosen))
        gram = _dense(problem.gram, chosen, place)
        behaviour = problem.behaviour[:, [target]]
        right = np.zeros(len(chosen), np.float32)
        known = place[behaviour.indices] >= 0
        right[place[behaviour.indices[known]]] = behaviour.data[known]
        place[chosen] = -1
        own = problem.kernel[chosen]
        gram += settings.semantic_weight * (own @ own.T)
        gram[np.diag_indices(len(chosen))] += settings.ridge
        right += settings.semantic_weight * alike[row, chosen]
        _, weights, failed = linalg.lapack.sposv(gram, right, overwrite_a=1, overwrite_b=1)
        if failed:
            raise np.linalg.LinAlgError(f"the regression of item {target} has no solution (sposv: {failed})")
        kept = weights > 0
        yield chosen[kept], weights[kept]


def _neighbours(
    problem: LocalProblem, target: int, alike: NDArray[np.float32], count: int
) -> NDArray[np.int64]:
    """Sorted codes: up to half of them the closest by behaviour, the others the closest by meaning."""
    column = problem.closeness[:, [target]]
    codes, values = column.indices.astype(np.int64), column.data
    others = codes != target
    codes, values = codes[others], values[others]
    by_behaviour = codes[np.lexsort((codes, -values))[: (count + 1) // 2]]
    far = alike.copy()
    far[target] = -np.inf
    far[by_behaviour] = -np.inf
    wanted = count - len(by_behaviour)
    if wanted == 0:
        return np.sort(by_behaviour)
    # Some more than are wanted, so that equal ones at the edge are decided by code.
    least = np.partition(far, len(far) - wanted)[len(far) - wanted]
    near = np.flatnonzero((far >= least) & np.isfinite(far))
    by_meaning = near[np.lexsort((near, -far[near]))[:wanted]]
    return np.sort(np.concatenate([by_behaviour, by_meaning]))


def _dense(
    matrix: sparse.csr_matrix, chosen: NDArray[np.int64], place: NDArray[np.int64]
) -> NDArray[np.float32]:
    """(chosen, chosen) entries of ``matrix``; ``place`` has the position of each chosen code and -1 elsewhere."""
    rows = matrix[chosen]
    columns = place[rows.indices]
    kept = columns >= 0
    owner = np.repeat(np.arange(len(chosen)), np.diff(rows.indptr))
    dense = np.zeros((len(chosen), len(chosen)), np.float32)
    dense[owner[kept], columns[kept]] = rows.data[kept]
    return dense


def strongest_entries(matrix: sparse.csr_matrix, count: int) -> sparse.csr_matrix:
    """Keep each row's ``count`` largest entries, equal ones by column."""
    matrix.sort_indices()
    lengths = np.diff(matrix.indptr)
    owner = np.repeat(np.arange(matrix.shape[0]), lengths)
    order = np.lexsort((matrix.indices, -matrix.data, owner))
    rank = np.arange(matrix.nnz) - np.repeat(matrix.indptr[:-1], lengths)
    dropped = order[rank >= count]
    matrix.data[dropped] = 0
    matrix.eliminate_zeros()
    return matrix
