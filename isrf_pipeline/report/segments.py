"""The report's segments: what they are, what became of them, and the items that show it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from isrf_pipeline.lake import Table, tables
from isrf_pipeline.report.figures import SegmentFigure

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

#: Segments beyond these say little to a reader and stay in their table.
_SHOWN = 16
_ITEMS_SHOWN = 3


def segment_figures(read: Callable[[Table], DataFrame]) -> tuple[SegmentFigure, ...]:
    """The largest segments of the night.

    Parameters
    ----------
    read
        Gives the night's rows of a table.
    """
    from pyspark.sql import functions as F

    largest = read(tables.SEGMENTS).orderBy(F.desc("size"), "segment_id").limit(_SHOWN)
    titles = read(tables.ITEMS).select("item_id", F.coalesce("title", "item_id").alias("title"))
    shown = read(tables.SEGMENT_ITEMS).where(F.col("rank") <= _ITEMS_SHOWN).join(titles, "item_id", "left")
    listed = shown.groupBy("segment_id").agg(
        *(
            F.array_sort(
                F.collect_list(
                    F.when(
                        F.col("kind") == kind, F.struct("rank", F.coalesce("title", "item_id").alias("title"))
                    )
                )
            ).alias(kind)
            for kind in ("typical", "surprising")
        )
    )
    changes = read(tables.SEGMENT_CHANGES).select("segment_id", "change", "size_before")
    rows = (
        largest.join(changes, "segment_id", "left")
        .join(listed, "segment_id", "left")
        .orderBy(F.desc("size"), "segment_id")
        .collect()
    )
    return tuple(
        SegmentFigure(
            row["segment_id"],
            row["name"],
            row["description"],
            row["size"],
            tuple(row["top_features"]),
            row["change"],
            row["size_before"],
            tuple(item["title"] for item in row["typical"] or ()),
            tuple(item["title"] for item in row["surprising"] or ()),
        )
        for row in rows
    )
