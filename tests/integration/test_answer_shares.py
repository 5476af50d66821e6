"""What ``isrf answers`` prints of the stored answers."""

from __future__ import annotations

import datetime
from typing import TYPE_CHECKING, Any

import pytest

from isrf_pipeline.cli.answers import step_lines
from isrf_pipeline.lake import tables

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

pytestmark = pytest.mark.spark


def stored(spark: SparkSession, *rows: dict[str, Any]) -> DataFrame:
    """Rows of reasoning.answers: what is not given is that of a good answer at the first attempt."""
    common = {
        "subject": "s",
        "input_hash": None,
        "model": "small",
        "prompt_version": "v2",
        "answer": "{}",
        "status": "ok",
        "reason": None,
        "raw": None,
        "note": None,
        "calls": 1,
        "tokens_in": 100,
        "tokens_out": 20,
        "tokens_cached": 50,
        "finished_at": datetime.datetime(2026, 3, 1, tzinfo=datetime.UTC),
        "run_id": "r",
    }
    full = [{"fingerprint": str(n), **common, **row} for n, row in enumerate(rows)]
    names = tables.ANSWERS.column_names()
    return spark.createDataFrame([tuple(row[name] for name in names) for row in full], tables.ANSWERS.ddl())


def test_shares_and_means_of_each_step(spark: SparkSession) -> None:
    lines = step_lines(
        stored(
            spark,
            {"kind": "item.single"},
            {"kind": "item.single", "calls": 2, "tokens_in": 260, "tokens_out": 40, "tokens_cached": 130},
            {"kind": "item.single", "calls": 2, "status": "dead", "tokens_in": 260, "tokens_out": 40},
            {"kind": "item.single", "status": "ok"},
            # Written before calls and cache hits were counted.
            {"kind": "user.single", "prompt_version": "v1", "calls": None, "tokens_cached": None},
        )
    )
    assert [line.split() for line in lines[1:]] == [
        ["small", "v1", "user.single", "1", "100.0%", "0.0%", "1.00", "100.0", "20.0", "0%"],
        # 3 of 4 valid, 1 of 4 repaired; 6 calls, 720 prompt and 120 output tokens, 280 cached.
        ["small", "v2", "item.single", "4", "75.0%", "25.0%", "1.50", "180.0", "30.0", "39%"],
    ]


def test_a_lake_without_answers_says_so(spark: SparkSession) -> None:
    assert step_lines(stored(spark)) == ["no answers yet"]
