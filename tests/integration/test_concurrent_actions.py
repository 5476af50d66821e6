"""Actions side by side."""

from __future__ import annotations

import threading

import pytest
from pyspark.sql import SparkSession

from isrf_pipeline.concurrent_actions import run_together


def test_results_come_in_the_order_of_the_actions(spark: SparkSession) -> None:
    second_done = threading.Event()

    def first() -> int:
        # Ends only after the second: they do run side by side.
        assert second_done.wait(60)
        return spark.range(3).count()

    def second() -> int:
        found = spark.range(5).count()
        second_done.set()
        return found

    assert run_together(first, second) == [3, 5]


def test_an_error_comes_after_all_have_ended(spark: SparkSession) -> None:
    ended = []

    def fails() -> int:
        raise ValueError("first")

    def goes_on() -> int:
        ended.append(spark.range(2).count())
        return ended[-1]

    with pytest.raises(ValueError, match="first"):
        run_together(fails, goes_on)
    assert ended == [2]


def test_local_properties_of_the_caller_hold_in_every_action(spark: SparkSession) -> None:
    context = spark.sparkContext
    context.setLocalProperty("isrf.test", "of the caller")
    try:
        found = run_together(*[lambda: context.getLocalProperty("isrf.test")] * 2)
    finally:
        context.setLocalProperty("isrf.test", None)
    assert found == ["of the caller"] * 2
