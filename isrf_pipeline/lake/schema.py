"""How a table is declared: columns with types and comments, its key and its CHECK constraints."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field


@dataclass(frozen=True)
class ClientReference:
    """How a column names a client: what erasure looks for.

    Attributes
    ----------
    prefix
        What stands in front of the client's identifier.
    when
        Column and beginning: a row names a client only where that column begins so; None where every row does.
    hashed
        Whether the column holds Spark's xxhash64 of the identifier instead.
    """

    prefix: str = ""
    when: tuple[str, str] | None = None
    hashed: bool = False


@dataclass(frozen=True)
class Retention:
    """How long maintenance keeps the rows of a table.

    Attributes
    ----------
    setting
        Setting below ``maintenance`` that says it: one that ends with ``_nights`` keeps so many of the newest nights,
        one that ends with ``_days`` keeps so many days before the night of the run.
    column
        Date or timestamp that is compared.
    """

    setting: str
    column: str = "run_date"


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
    client
        How the column names a client; None where it names none.
    may_mention_clients
        Whether it is free text in which an identifier may stand.
    """

    name: str
    type: str
    comment: str
    nullable: bool = True
    client: ClientReference | None = None
    may_mention_clients: bool = False


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
    learned
        Whether its rows are parts of a model that was trained with the clients of its time; erasing one of them
        removes them all.
    retention
        How long rows are kept; None where each night replaces them, or they are kept for good.
    """

    name: str
    comment: str
    key: tuple[str, ...]
    columns: tuple[Column, ...]
    checks: dict[str, str] = field(default_factory=dict)
    learned: bool = False
    retention: Retention | None = None

    @property
    def is_delivered(self) -> bool:
        """Whether it is read outside of the pipeline, so that a night enters it only when its gates have passed."""
        return self.name.startswith("gold.") and "run_date" in self.key

    @property
    def pending(self) -> Table:
        """Of a delivered table the one of the same shape in which a night waits for its gates."""
        return dataclasses.replace(self, name=f"pending.{self.name.partition('.')[2]}")

    def client_columns(self) -> list[tuple[str, ClientReference]]:
        """Columns that name a client, and how."""
        return [(column.name, column.client) for column in self.columns if column.client is not None]

    def column_names(self) -> list[str]:
        """Names of all columns, in order."""
        return [column.name for column in self.columns]

    def ddl(self) -> str:
        """Columns as a Spark DDL string."""
        return ", ".join(f"{c.name} {c.type}{'' if c.nullable else ' NOT NULL'}" for c in self.columns)
