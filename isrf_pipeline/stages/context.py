"""What a stage is and what it is given: its tables, its settings, its night."""

from __future__ import annotations

import datetime
import functools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from isrf_pipeline.concurrent_actions import run_together
from isrf_pipeline.config import Settings
from isrf_pipeline.lake import Lake, Table, tables

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession


@dataclass
class StageCounters:
    """What one stage read, wrote and spent; recorded in ops.runs.

    Attributes
    ----------
    stopped_by
        Setting whose limit ended the stage's work early, or None: what it wrote is whole, but not all there is.
    """

    rows_in: int = 0
    rows_out: int = 0
    llm_calls: int = 0
    llm_tokens: int = 0
    stopped_by: str | None = None
    input_versions: dict[str, int] = field(default_factory=dict)
    output_versions: dict[str, int] = field(default_factory=dict)


@dataclass
class StageContext:
    """Everything a stage may use.

    Attributes
    ----------
    spark
        The session.
    settings
        Effective settings.
    lake
        The lake's tables; stages go through :meth:`read` and :meth:`write` so that ops.runs can tell what they did.
    run_date
        The night.
    run_id
        The run.
    counters
        Filled while the stage runs.
    published
        Whether delivered tables are read as consumers have them; else they are the pending ones, in which a night
        waits for its gates.
    """

    spark: SparkSession
    settings: Settings
    lake: Lake
    run_date: datetime.date
    run_id: str
    counters: StageCounters = field(default_factory=StageCounters)
    published: bool = False

    def read(self, table: Table) -> DataFrame:
        """All rows of ``table``; notes the version that was read."""
        there = self.in_work(table)
        rows = self.lake.read(there)
        if there.name not in self.counters.input_versions:
            self.counters.input_versions[there.name] = self.lake.version(there)
        return rows

    def stored(self, table: Table) -> DataFrame:
        """All rows of a table that this stage has written itself."""
        return self.lake.read(self.in_work(table))

    def exists(self, table: Table) -> bool:
        """Whether :meth:`read` would find the table."""
        return self.lake.exists(self.in_work(table))

    def in_work(self, table: Table) -> Table:
        """Where a table's rows are for this stage: of a delivered table the pending one, unless ``published``."""
        return table.pending if table.is_delivered and not self.published else table

    def write(self, table: Table, rows: DataFrame) -> None:
        """Replace ``table``: this night's rows where it has a run_date, else all rows."""
        self.counters.rows_out += self._overwrite(table, rows)

    def write_together(self, *writes: tuple[Table, DataFrame]) -> None:
        """As :meth:`write` for several tables that are not computed from each other, side by side."""
        actions = [functools.partial(self._overwrite, table, rows) for table, rows in writes]
        self.counters.rows_out += sum(run_together(*actions))

    def _overwrite(self, table: Table, rows: DataFrame) -> int:
        table = self.in_work(table)
        where = None
        if "run_date" in table.column_names():
            # Nights before it no longer wait: they are published, or were stopped and nobody comes back to them.
            compared = "<=" if table.name in tables.WAITING else "="
            where = f"run_date {compared} '{self.run_date.isoformat()}'"
        return self.lake.overwrite(table, rows, where)

    def append(self, table: Table, rows: DataFrame) -> None:
        """Append ``rows`` to ``table``."""
        self.counters.rows_out += self.lake.append(table, rows)

    def write_metrics(self, prefix: str, values: dict[tuple[str, str], float]) -> None:
        """Replace this night's metrics below ``prefix``.

        Parameters
        ----------
        prefix
            First part of every metric's name, the stage or a part of it.
        values
            (metric without prefix, slice) to value.
        """
        rows = [
            (self.run_date, f"{prefix}.{metric}", slice_, float(value))
            for (metric, slice_), value in values.items()
        ]
        frame = self.spark.createDataFrame(rows, tables.METRICS.ddl())
        where = f"run_date = '{self.run_date.isoformat()}' AND startswith(metric, '{prefix}.')"
        self.lake.overwrite(tables.METRICS, frame, where)


@dataclass(frozen=True)
class Stage:
    """One step of the nightly run.

    Attributes
    ----------
    name
        Name on the command line and in ops.runs.
    reads, writes
        Declared inputs and outputs.
    run
        Does the work.
    sources
        Fingerprints of what it reads outside of the lake, by name; nothing for most.
    """

    name: str
    reads: tuple[Table, ...]
    writes: tuple[Table, ...]
    run: Callable[[StageContext], None]
    sources: Callable[[StageContext], dict[str, int]] | None = None
