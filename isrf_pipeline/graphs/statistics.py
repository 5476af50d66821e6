"""Degree and weight statistics of a graph, opened as a GraphFrame."""

from __future__ import annotations

from typing import TYPE_CHECKING

from isrf_pipeline.concurrent_actions import run_together

if TYPE_CHECKING:
    from pyspark.sql import DataFrame


def graph_statistics(vertices: DataFrame, edges: DataFrame) -> dict[tuple[str, str], float]:
    """Describe a graph by its degrees and weights.

    Parameters
    ----------
    vertices
        Columns id and kind.
    edges
        Columns src, dst, relation and weight.

    Returns
    -------
    dict
        (metric, slice) to value. Slices of ``vertices`` and ``degree.{min,median,mean,max}`` are kinds of vertices,
        one without edges having degree 0; slices of ``edges`` and ``weight.{mean,p10,p50,p90}`` are relations.
        Percentiles are of weights rounded to four significant digits.
    """
    from graphframes import GraphFrame
    from pyspark.sql import functions as F

    graph = GraphFrame(vertices.select("id", "kind"), edges.select("src", "dst", "relation", "weight"))
    degree = F.coalesce(F.col("degree"), F.lit(0))
    by_kind = (
        graph.vertices.join(graph.degrees, "id", "left")
        .groupBy("kind")
        .agg(
            F.count("*").alias("vertices"),
            F.min(degree).alias("degree.min"),
            F.percentile(degree, 0.5).alias("degree.median"),
            F.avg(degree).alias("degree.mean"),
            F.max(degree).alias("degree.max"),
        )
    )
    # Exact percentiles keep every distinct value in memory: rounded, there are some thousands and not millions.
    digits = F.pow(F.lit(10.0), F.lit(3) - F.floor(F.log10(F.abs("weight"))))
    rounded = F.when(F.col("weight") == 0, 0.0).otherwise(F.round(F.col("weight") * digits) / digits)
    counted = graph.edges.groupBy("relation", rounded.alias("weight")).agg(
        F.count("*").alias("edges"), F.sum(F.col("weight").cast("double")).alias("total")
    )
    by_relation = counted.groupBy("relation").agg(
        F.sum("edges").alias("edges"),
        (F.sum("total") / F.sum("edges")).alias("weight.mean"),
        F.percentile("weight", 0.1, F.col("edges")).alias("weight.p10"),
        F.percentile("weight", 0.5, F.col("edges")).alias("weight.p50"),
        F.percentile("weight", 0.9, F.col("edges")).alias("weight.p90"),
    )
    values: dict[tuple[str, str], float] = {}
    # One row a kind and a relation: a handful.
    tables = (by_kind, by_relation)
    for table, rows in zip(tables, run_together(by_kind.collect, by_relation.collect), strict=True):
        for slice_, *numbers in rows:
            values.update(
                {(name, slice_): float(value) for name, value in zip(table.columns[1:], numbers, strict=True)}
            )
    return values
