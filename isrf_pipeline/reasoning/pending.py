"""The calls that a stage still has to make, numbered in the order in which they are worth their money."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from isrf_pipeline.lake.scratch import stored

if TYPE_CHECKING:
    from pyspark.sql import DataFrame


@dataclass(frozen=True)
class PendingCalls:
    """Distinct calls in files of their own, which outlive executors and the commits of the waves.

    Attributes
    ----------
    rows
        place (from 0, without gaps), subject, input, answers; sorted by place, so that a wave reads its own part.
    count
        Their number.
    """

    rows: DataFrame
    count: int

    def wave(self, start: int, stop: int, ahead: int) -> DataFrame:
        """Rows from ``start`` to below ``stop``, and ``ahead`` more: subject, input, answers, ahead."""
        from pyspark.sql import functions as F

        within = (F.col("place") >= start) & (F.col("place") < stop + ahead)
        return self.rows.where(within).select(
            "subject", "input", "answers", (F.col("place") >= stop).alias("ahead")
        )


def missing_within(traced: DataFrame, limit: int | None) -> DataFrame:
    """Rows of ``traced`` that are missing among its first ``limit`` subjects, by priority and then by hash.

    Returns
    -------
    DataFrame
        Columns of ``traced`` and key, a subject's place in the order.
    """
    from pyspark.sql import functions as F

    keyed = traced.withColumn("key", F.struct("priority", F.xxhash64("subject").alias("hash"), "subject"))
    within = keyed if limit is None else keyed.orderBy("key").limit(limit)
    return within.where(F.col("state") == "missing")


def pending_calls(
    traced: DataFrame, limit: int | None, folder: str, found: Callable[[], None]
) -> PendingCalls | None:
    """Store what is missing among the first ``limit`` subjects; None where nothing is.

    Parameters
    ----------
    traced
        Columns subject, priority, input, answers, state, fingerprint; see
        :func:`isrf_pipeline.reasoning.tracing.trace`.
    limit
        Only so many subjects, the first by priority and then by hash, count; None is no limit.
    folder
        Where the rows are stored; must not exist.
    found
        Called as soon as it is known that something is missing, before it is stored.
    """
    from pyspark.sql import Window
    from pyspark.sql import functions as F

    missing = missing_within(traced, limit)
    if missing.isEmpty():
        return None
    found()
    # Subjects with the same prompt have the same fingerprint: the first of them asks for all.
    first = missing.groupBy("fingerprint").agg(
        F.min("key").alias("key"),
        F.min_by("input", "key").alias("input"),
        F.min_by("answers", "key").alias("answers"),
    )
    # One task sorts all of them, on disk where need be: nothing beside what the model takes for them.
    place = (F.row_number().over(Window.orderBy("key")) - 1).cast("bigint")
    kept = stored(first.select(place.alias("place"), "key.subject", "input", "answers"), folder)
    return PendingCalls(kept, kept.count())
