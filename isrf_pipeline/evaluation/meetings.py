"""When a client first met an item: what both splits order a client's items by."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pyspark.sql import Column


def first_meeting() -> Column:
    """Struct of first (timestamp of the client's first event with the item), tie and item, in the order of meeting.

    Items that were first met at the same instant are ordered by a hash of client and item, never by identifier; the
    column is a window over user_id and item_id.
    """
    from pyspark.sql import Window
    from pyspark.sql import functions as F

    return F.struct(
        F.min("ts").over(Window.partitionBy("user_id", "item_id")).alias("first"),
        F.xxhash64("user_id", "item_id").alias("tie"),
        F.col("item_id").alias("item"),
    )
