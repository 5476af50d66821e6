"""The semantic interaction graph: clients, items, what clients did and how items relate."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from scipy import sparse

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession


def graph_vertices(items: DataFrame, clients: DataFrame) -> DataFrame:
    """All clients and items as vertices.

    Returns
    -------
    DataFrame
        id ('u:' or 'i:' and the identifier, so that the two never collide), kind, label.
    """
    from pyspark.sql import functions as F

    item_vertices = items.select(
        F.concat(F.lit("i:"), "item_id").alias("id"),
        F.lit("item").alias("kind"),
        F.col("title").alias("label"),
    )
    client_vertices = clients.select(
        F.concat(F.lit("u:"), "user_id").alias("id"),
        F.lit("user").alias("kind"),
        F.lit(None).cast("string").alias("label"),
    )
    return item_vertices.unionByName(client_vertices)


def interaction_edges(training: DataFrame) -> DataFrame:
    """Client-item edges: the strongest event type of the pair.

    Parameters
    ----------
    training
        Training events; events kept for measuring must never become edges.
    """
    from pyspark.sql import functions as F

    return (
        training.groupBy("user_id", "item_id")
        .agg(F.max("weight").alias("weight"))
        .select(
            F.concat(F.lit("u:"), "user_id").alias("src"),
            F.concat(F.lit("i:"), "item_id").alias("dst"),
            F.lit("interacted").alias("relation"),
            "weight",
        )
    )


def item_edges(
    spark: SparkSession, matrix: sparse.csr_matrix, item_ids: NDArray[np.str_], relation: str
) -> DataFrame:
    """Item-item edges from an item-sized matrix.

    Parameters
    ----------
    matrix
        (items, items); row = source, column = target.
    item_ids
        (items,) identifiers by code.
    relation
        followed_by or similar_meaning.
    """
    from pyspark.sql import functions as F

    # One row a source on its way to Spark: a row an edge would arrive as a thousand small partitions, and be written
    # as a thousand small files.
    matrix = matrix.tocsr()
    vertices = pa.array(["i:" + item for item in item_ids.tolist()])
    offsets = pa.array(matrix.indptr.astype(np.int32))
    packed = pa.table(
        {
            "src": vertices,
            "dst": pa.ListArray.from_arrays(offsets, vertices.take(pa.array(matrix.indices))),
            "weight": pa.ListArray.from_arrays(offsets, pa.array(matrix.data.astype(np.float32))),
        }
    )
    return (
        spark.createDataFrame(packed)
        .select("src", F.explode(F.arrays_zip("dst", "weight")).alias("edge"))
        .select("src", "edge.dst", F.lit(relation).alias("relation"), "edge.weight")
    )
