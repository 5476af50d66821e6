"""The tables that a lake has, whatever stage wrote them, and changes of single rows of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from isrf_pipeline.lake import tables
from isrf_pipeline.lake.schema import Table
from isrf_pipeline.lake.store import Lake

if TYPE_CHECKING:
    from delta.tables import DeltaTable


def declared_tables() -> list[Table]:
    """All tables that a lake may have, pending ones included."""
    declared = list(tables.ALL_TABLES.values())
    return declared + [table.pending for table in declared if table.is_delivered]


def existing_tables(lake: Lake) -> list[Table]:
    """Those of the declared tables that the lake has."""
    return [table for table in declared_tables() if lake.exists(table)]


def delta_table(lake: Lake, table: Table) -> DeltaTable:
    """``table`` for changes of single rows, in the session of ``lake``."""
    from delta.tables import DeltaTable

    if lake.settings.catalog is not None:
        return DeltaTable.forName(lake.spark, lake.address(table))
    return DeltaTable.forPath(lake.spark, lake.path(table))
