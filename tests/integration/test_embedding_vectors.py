"""Arithmetic on columns of vectors."""

from __future__ import annotations

import pytest
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from isrf_pipeline.embedding.vectors import unit_sum


def test_unit_sum_by_hand(spark: SparkSession) -> None:
    rows = spark.createDataFrame(
        [("both", [3.0, 0.0], [0.0, 8.0]), ("one", [0.0, 2.0], None)],
        "name string, first array<float>, second array<float>",
    )
    found = {
        row["name"]: row["sum"]
        for row in rows.select("name", unit_sum(F.col("first"), F.col("second"), 0.5).alias("sum")).collect()
    }
    # (3, 0) + 0.5 (0, 8) = (3, 4), of length 5.
    assert found["both"] == pytest.approx([0.6, 0.8])
    assert found["one"] is None
