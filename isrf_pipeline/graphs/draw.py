"""A bounded draw of clients: what is measured or learned on some of them takes the same ones every time."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pyspark.sql import DataFrame


def drawn_clients(rows: DataFrame, count: int) -> DataFrame:
    """At most ``count`` of ``rows``, by a hash of their user_id: whatever their order, partitions or other columns.

    So many rows may be on the driver, however many clients the lake has.
    """
    from pyspark.sql import functions as F

    return rows.orderBy(F.xxhash64("user_id"), "user_id").limit(count)
