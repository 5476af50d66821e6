"""Implicit interest: what a client's most similar clients care about, propagated over the user-similarity graph."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from scipy import sparse

from isrf_pipeline.interests.propagation import normalise_rows, rows_to_csr, strongest

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

GROUP_SCHEMA = "user_id string, group_codes array<int>, group_values array<float>"
_ENTRY = np.dtype([("code", "<i4"), ("weight", "<f4")])


def group_interest(
    neighbours: DataFrame, base: DataFrame, popularity: NDArray[np.float32], sharpness: float, candidates: int
) -> DataFrame:
    """Items of similar clients, weighted by similarity and damped by popularity.

    The weight of a neighbour is ``similarity ** sharpness``; an item's sum is divided by ``sqrt(clients + 5)`` so
    that what everybody has says little about a group.

    Parameters
    ----------
    neighbours
        src, dst (array<string>), similarity (array<float>): one row a client.
    base
        user_id, codes, weights of the training histories of the clients that are compared with.
    popularity
        (items,) training clients of each item.
    sharpness
        Exponent of the similarity.
    candidates
        Strongest items kept for a client.

    Returns
    -------
    DataFrame
        user_id, group_codes, group_values (largest first, largest 1).
    """
    from pyspark.sql import functions as F

    n_items = len(popularity)
    damping = (1 / np.sqrt(popularity + 5)).astype(np.float32)

    def add_up(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            sums = neighbour_sums(batch.column("neighbours"), sharpness, n_items)
            sums = sums @ sparse.diags(damping, format="csr", dtype=np.float32)
            codes, strengths = strongest(normalise_rows(sums), candidates)
            yield pa.RecordBatch.from_arrays(
                [batch.column("src"), codes, strengths], names=["user_id", "group_codes", "group_values"]
            )

    pairs = neighbours.select("src", F.explode(F.arrays_zip("dst", "similarity")).alias("pair")).select(
        "src", F.col("pair.dst").alias("user_id"), F.col("pair.similarity").alias("similarity")
    )
    gathered = (
        pairs.join(packed_histories(base), "user_id")
        .groupBy("src")
        .agg(
            F.collect_list(F.struct(F.xxhash64("user_id").alias("tie"), "similarity", "history")).alias(
                "neighbours"
            )
        )
    )
    return gathered.mapInArrow(add_up, GROUP_SCHEMA)


def packed_histories(histories: DataFrame) -> DataFrame:
    """Histories as one binary a client, which Spark moves as it is instead of taking arrays apart.

    Returns
    -------
    DataFrame
        user_id and history (binary: pairs of int32 code and float32 weight, newest first).
    """

    def pack(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            entries = np.empty(len(batch.column("codes").flatten()), _ENTRY)
            entries["code"] = batch.column("codes").flatten().to_numpy(zero_copy_only=False)
            entries["weight"] = batch.column("weights").flatten().to_numpy(zero_copy_only=False)
            offsets = batch.column("codes").offsets.to_numpy()
            offsets = (offsets - offsets[0]) * _ENTRY.itemsize
            binary = pa.Array.from_buffers(
                pa.binary(),
                batch.num_rows,
                [None, pa.py_buffer(offsets.astype(np.int32)), pa.py_buffer(entries)],
            )
            yield pa.RecordBatch.from_arrays([batch.column("user_id"), binary], names=["user_id", "history"])

    return histories.select("user_id", "codes", "weights").mapInArrow(pack, "user_id string, history binary")


def neighbour_sums(neighbours: pa.ListArray, sharpness: float, n_items: int) -> sparse.csr_matrix:
    """Sum of the neighbours' histories, each weighted by ``similarity ** sharpness``.

    Parameters
    ----------
    neighbours
        One list a client of structs tie (bigint: orders the sum), similarity and history, see
        :func:`packed_histories`.
    sharpness
        Exponent of the similarity; a negative similarity counts as 0.
    n_items
        Number of items.

    Returns
    -------
    sparse.csr_matrix
        (clients, n_items) float32.
    """
    rows = neighbours.flatten()
    owner = np.repeat(np.arange(len(neighbours)), np.diff(neighbours.offsets.to_numpy()))
    # The last digits of a sum depend on its order, which must not depend on the partitioning.
    order = np.lexsort((rows.field("tie").to_numpy(zero_copy_only=False), owner))
    histories = rows.field("history").take(pa.array(order))
    offsets = np.frombuffer(histories.buffers()[1], np.int32)[histories.offset :][: len(histories) + 1]
    entries = np.frombuffer(histories.buffers()[2], np.uint8)[offsets[0] : offsets[-1]].view(_ENTRY)
    lengths = np.diff(offsets) // _ENTRY.itemsize
    similarity = rows.field("similarity").to_numpy(zero_copy_only=False)[order].astype(np.float32)
    strength = np.maximum(similarity, 0) ** np.float32(sharpness)
    values = entries["weight"] * np.repeat(strength, lengths)
    counts = np.bincount(owner, lengths, len(neighbours)).astype(np.int32)
    codes = pa.ListArray.from_arrays(
        pa.array(np.concatenate([[0], np.cumsum(counts)]).astype(np.int32)), pa.array(entries["code"])
    )
    return rows_to_csr(codes, values, n_items)
