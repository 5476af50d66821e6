"""Implicit interest: what a client's most similar clients care about, propagated over the user-similarity graph."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from isrf_pipeline.interests.propagation import normalise_rows, rows_to_csr, strongest

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

GROUP_SCHEMA = "user_id string, group_codes array<int>, group_values array<float>"


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
            values = batch.column("values").flatten().to_numpy(zero_copy_only=False).astype(np.float32)
            sums = rows_to_csr(batch.column("codes"), values, n_items).multiply(damping[None, :]).tocsr()
            codes, strengths = strongest(normalise_rows(sums), candidates)
            yield pa.RecordBatch.from_arrays(
                [batch.column("src"), codes, strengths], names=["user_id", "group_codes", "group_values"]
            )

    pairs = neighbours.select("src", F.explode(F.arrays_zip("dst", "similarity")).alias("pair")).select(
        "src",
        F.col("pair.dst").alias("user_id"),
        F.pow(F.greatest(F.col("pair.similarity"), F.lit(0.0)), sharpness).cast("float").alias("strength"),
    )
    items_of_neighbours = pairs.join(base, "user_id").select(
        "src",
        F.struct(
            # The sort key makes the order of the sum, and so its last digits, independent of the partitioning.
            F.xxhash64("user_id").alias("tie"),
            "codes",
            F.transform("weights", lambda w: w * F.col("strength")).alias("values"),
        ).alias("of_neighbour"),
    )
    gathered = items_of_neighbours.groupBy("src").agg(
        F.sort_array(F.collect_list("of_neighbour")).alias("rows")
    )
    flat = gathered.select(
        "src",
        F.flatten(F.transform("rows", lambda r: r["codes"])).alias("codes"),
        F.flatten(F.transform("rows", lambda r: r["values"])).alias("values"),
    )
    return flat.mapInArrow(add_up, GROUP_SCHEMA)
