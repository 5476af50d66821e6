"""How a table is declared: columns with types and comments, its key and its CHECK constraints."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Column:
    """One column.

    Attributes
    ----------
    name
        Column name.
    type
        Spark SQL type, for example ``array<float>``.
    comment
        One line for the people who read the table in BI.
    nullable
        Whether the value may be absent.
    """

    name: str
    type: str
    comment: str
    nullable: bool = True


@dataclass(frozen=True)
class Table:
    """One table of the lake.

    Attributes
    ----------
    name
        ``schema.table``.
    comment
        What one row is.
    key
        Columns that identify a row.
    columns
        All columns, in order.
    checks
        Constraint name to SQL expression that every row must fulfil.
    """

    name: str
    comment: str
    key: tuple[str, ...]
    columns: tuple[Column, ...]
    checks: dict[str, str] = field(default_factory=dict)

    @property
    def is_delivered(self) -> bool:
        """Whether it is read outside of the pipeline, so that a night enters it only when its gates have passed."""
        return self.name.startswith("gold.") and "run_date" in self.key

    @property
    def pending(self) -> Table:
        """Of a delivered table the one of the same shape in which a night waits for its gates."""
        return dataclasses.replace(self, name=f"pending.{self.name.partition('.')[2]}")

    def column_names(self) -> list[str]:
        """Names of all columns, in order."""
        return [column.name for column in self.columns]

    def ddl(self) -> str:
        """Columns as a Spark DDL string."""
        return ", ".join(f"{c.name} {c.type}{'' if c.nullable else ' NOT NULL'}" for c in self.columns)
