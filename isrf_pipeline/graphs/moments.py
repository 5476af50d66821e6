"""Sums over training histories that the item-item model is fitted on, reduced where the clients are.

See :mod:`isrf_pipeline.graphs.item_model` for the formula they belong to.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from scipy import sparse

from isrf_pipeline.config.settings import InteractionGraphSettings

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

#: Rows of the co-occurrence matrices that travel together as one packed block.
_BLOCK_ITEMS = 1024
_PACKED = "block int, part string, indptr binary, indices binary, data binary"
_PARTS = ("xx", "xy", "ff")
#: Weights are multiples of this, products multiples of its square: sums below 2^29 are exact in any order, and the
#: graph does not depend on how clients were spread over partitions.
_GRID = 2.0**-12


@dataclass(frozen=True)
class SequenceMoments:
    """Sums over all training histories; each is an (items, items) float64 sparse matrix.

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
            for part, matrix in zip(_PARTS, moments_of(codes, lengths, n_items, window, decay), strict=True):
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
    sums = {part: sparse.csr_matrix((n_items, n_items), dtype=np.float64) for part in _PARTS}
    rows = sorted(packed.to_pylist(), key=lambda row: row["block"])
    for part in _PARTS:
        blocks = {row["block"]: _unpack(row, n_items) for row in rows if row["part"] == part}
        if blocks:
            sums[part] = sparse.vstack(
                [
                    blocks.get(
                        b,
                        sparse.csr_matrix(
                            (min(_BLOCK_ITEMS, n_items - b * _BLOCK_ITEMS), n_items), dtype=np.float64
                        ),
                    )
                    for b in range(-(-n_items // _BLOCK_ITEMS))
                ],
                format="csr",
            )
    return SequenceMoments(sums["xx"], sums["xy"], sums["ff"])


def moments_of(
    codes: NDArray[np.int32], lengths: NDArray[np.int64], n_items: int, window: int, decay: float
) -> tuple[sparse.csr_matrix, sparse.csr_matrix, sparse.csr_matrix]:
    """``X'X``, ``X'Y`` and ``F'F`` of some clients.

    Parameters
    ----------
    codes
        Item codes of all histories, one history after the other, each oldest first.
    lengths
        (clients,) length of each history.
    n_items
        Number of items.
    window, decay
        Steps that count, and the weight of one more step.
    """
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
        x_values.append(np.full(int(back.sum()), _weight(decay, step)))
        ahead = position[ends] + 1 + step < lengths[owner[ends]]
        y_rows.append(prefix[ahead])
        y_columns.append(codes[ends[ahead] + 1 + step])
        y_values.append(np.full(int(ahead.sum()), _weight(decay, step)))
    shape = (len(ends), n_items)
    x = _coo(x_rows, x_columns, x_values, shape)
    y = _coo(y_rows, y_columns, y_values, shape)
    f = sparse.csr_matrix((np.ones(len(codes)), (owner, codes)), shape=(len(lengths), n_items))
    f.data[:] = np.minimum(f.data, 1)
    return (x.T @ x).tocsr(), (x.T @ y).tocsr(), (f.T @ f).tocsr()


def _weight(decay: float, step: int) -> float:
    return round(decay**step / _GRID) * _GRID


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
