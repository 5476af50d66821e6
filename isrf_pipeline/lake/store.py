"""Reads and writes the declared tables, by path or through a catalog; every write is one atomic Delta commit."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from isrf_pipeline.config.settings import LakeSettings
from isrf_pipeline.environment.space import cannot_write
from isrf_pipeline.errors import IsrfError, MissingTableError
from isrf_pipeline.lake.commits import CommitLog
from isrf_pipeline.lake.schema import Table
from isrf_pipeline.lake.shape import lacking_columns

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession


class Lake:
    """The tables of one lake.

    Parameters
    ----------
    spark
        Session with Delta's extension and catalog.
    settings
        Where the lake is.
    """

    def __init__(self, spark: SparkSession, settings: LakeSettings) -> None:
        self.spark = spark
        self.settings = settings
        # Delta takes a table by its path only where that path is absolute.
        local = ":" not in settings.root.partition("/")[0]
        self.root = str(Path(settings.root).absolute()) if local else settings.root.rstrip("/")
        # Nothing drops a table while a run holds the lake, and asking Delta costs a look at the files each time.
        self._seen: set[str] = set()
        #: Tables that have all declared columns and rules.
        self._current: set[str] = set()
        # For the same reasons: versions of the tables that this object wrote.
        self._versions: dict[str, int] = {}

    def address(self, table: Table) -> str:
        """Name of ``table`` for SQL statements."""
        schema, name = table.name.split(".")
        if self.settings.catalog is not None:
            return f"`{self.settings.catalog}`.`{schema}`.`{name}`"
        return f"delta.`{self.path(table)}`"

    def path(self, table: Table) -> str:
        """Folder of ``table`` when tables are addressed by path."""
        return f"{self.root}/{table.name.replace('.', '/')}"

    def exists(self, table: Table) -> bool:
        """Whether ``table`` has been created; once seen, a table stays."""
        if table.name not in self._seen and self._is_there(table):
            self._seen.add(table.name)
        return table.name in self._seen

    def _is_there(self, table: Table) -> bool:
        if self.settings.catalog is not None:
            return bool(self.spark.catalog.tableExists(self.address(table)))
        from delta.tables import DeltaTable

        return bool(DeltaTable.isDeltaTable(self.spark, self.path(table)))

    def read(self, table: Table) -> DataFrame:
        """All rows of ``table``, with the declared columns; one that came since the last write is null.

        Raises
        ------
        MissingTableError
            If no stage has written the table.
        InputRefusedError
            If a column has another type than the declared one, or lacks and must not be null.
        """
        from pyspark.sql import functions as F

        if not self.exists(table):
            raise MissingTableError(
                table.name,
                f"does not exist in the lake {self.root}",
                "run the stage that writes it, or isrf nightly",
            )
        rows = self.spark.table(self.address(table))
        if table.name in self._current:
            return rows.select(*table.column_names())
        lacking = {column.name for column in lacking_columns(table, rows.schema)}
        return rows.select(
            *(
                F.lit(None).cast(column.type).alias(column.name)
                if column.name in lacking
                else F.col(column.name)
                for column in table.columns
            )
        )

    def read_version(self, table: Table, version: int) -> DataFrame:
        """Rows of ``table`` as they were in an older version, with the columns of that time.

        Raises
        ------
        AnalysisException
            Now or when the rows are read, if maintenance has removed that version.
        """
        return self.spark.sql(f"SELECT * FROM {self.address(table)} VERSION AS OF {int(version)}")

    def version(self, table: Table) -> int:
        """Newest version of ``table``, that of the last write if written here; -1 where it does not exist."""
        if not self.exists(table):
            return -1
        if table.name in self._versions:
            return self._versions[table.name]
        return self._last_commit(table)[0]

    def version_without(self, table: Table, *notes: str) -> int:
        """Newest version of ``table`` whose commit bears none of ``notes``; -1 where there is none."""
        from pyspark.sql import functions as F

        if not self.exists(table):
            return -1
        if self.settings.catalog is None:
            log = CommitLog(self.spark, self.path(table))
            return log.newest_without(notes, self._versions.get(table.name))
        others = self.spark.sql(f"DESCRIBE HISTORY {self.address(table)}").where(
            ~F.coalesce("userMetadata", F.lit("")).isin(*notes)
        )
        row = others.agg(F.max("version")).first()
        return int(row[0]) if row is not None and row[0] is not None else -1

    def create(self, table: Table) -> None:
        """Create ``table`` with its comments and constraints where it does not exist yet."""
        if self.exists(table):
            self._bring_up_to_date(table)
            return
        self._check_writable()
        if self.settings.catalog is not None:
            self.spark.sql(
                f"CREATE SCHEMA IF NOT EXISTS `{self.settings.catalog}`.`{table.name.split('.')[0]}`"
            )
        columns = ", ".join(
            f"`{c.name}` {c.type}{'' if c.nullable else ' NOT NULL'} COMMENT '{_quoted(c.comment)}'"
            for c in table.columns
        )
        # Constraints come with the table in one commit: a run that dies in between must not leave a table without.
        rules = ", ".join(
            f"'delta.constraints.{name}' = '{_quoted(rule)}'" for name, rule in table.checks.items()
        )
        properties = f" TBLPROPERTIES ({rules})" if rules else ""
        self.spark.sql(
            f"CREATE TABLE {self.address(table)} ({columns}) USING delta COMMENT '{_quoted(table.comment)}'{properties}"
        )
        self._current.add(table.name)
        self._versions[table.name] = 0

    def _bring_up_to_date(self, table: Table) -> None:
        """Give a table of an older version of this package the columns and rules that came since.

        Its rows have null in new columns. Columns that somebody else has added stay, with null in new rows.

        Raises
        ------
        InputRefusedError
            As :meth:`read`.
        """
        if table.name in self._current:
            return
        address = self.address(table)
        new = lacking_columns(table, self.spark.table(address).schema)
        if new:
            self._check_writable()
            columns = ", ".join(f"`{c.name}` {c.type} COMMENT '{_quoted(c.comment)}'" for c in new)
            self.spark.sql(f"ALTER TABLE {address} ADD COLUMNS ({columns})")
        properties = {
            row["key"]: row["value"] for row in self.spark.sql(f"SHOW TBLPROPERTIES {address}").collect()
        }
        for name, rule in table.checks.items():
            if properties.get(f"delta.constraints.{name}") != rule:
                self.spark.sql(f"ALTER TABLE {address} DROP CONSTRAINT IF EXISTS {name}")
                self.spark.sql(f"ALTER TABLE {address} ADD CONSTRAINT {name} CHECK ({rule})")
        self._current.add(table.name)

    def overwrite(
        self, table: Table, rows: DataFrame, where: str | None = None, note: str | None = None
    ) -> int:
        """Replace all rows of ``table``, or those that fulfil ``where``, and return how many were written.

        The write is one commit: readers see the old rows or the new ones. ``rows`` may have been read from the
        table itself. ``note`` stays with the commit, see :meth:`version_without`.
        """
        options = {"replaceWhere": where} if where is not None else {}
        if note is not None:
            options["userMetadata"] = note
        return self._write(table, rows, "overwrite", options)

    def append(self, table: Table, rows: DataFrame) -> int:
        """Append ``rows`` to ``table`` and return how many were written."""
        return self._write(table, rows, "append", {})

    def _write(self, table: Table, rows: DataFrame, mode: str, options: dict[str, str]) -> int:
        from pyspark.sql import functions as F

        missing = [c.name for c in table.columns if c.name not in rows.columns]
        if missing:
            raise IsrfError(
                table.name, f"rows lack the columns {', '.join(missing)}", "report this as a defect"
            )
        self.create(table)
        shaped = rows.select(*[F.col(c.name).cast(c.type).alias(c.name) for c in table.columns])
        writer = shaped.write.format("delta").mode(mode).options(**options)
        if self.settings.catalog is not None:
            writer.saveAsTable(self.address(table))
        else:
            writer.save(self.path(table))
        self._versions[table.name], metrics = self._last_commit(table)
        return int(metrics.get("numOutputRows", 0))

    def _last_commit(self, table: Table) -> tuple[int, dict[str, str]]:
        """Version of the newest commit and what it counted; nothing where the newest one was known before."""
        if self.settings.catalog is None:
            log, known = CommitLog(self.spark, self.path(table)), self._versions.get(table.name)
            version = log.newest_version(known)
            return version, log.metrics(version) if version != known else {}
        history = self.spark.sql(f"DESCRIBE HISTORY {self.address(table)} LIMIT 1")
        row = history.select("version", "operationMetrics").first()
        return (int(row[0]), row[1] or {}) if row is not None else (-1, {})

    def _check_writable(self) -> None:
        """Say in one line that a local lake cannot be written, before Spark says it in a hundred."""
        if "://" in self.root:
            return
        try:
            Path(self.root).mkdir(parents=True, exist_ok=True)
            probe = Path(self.root) / ".isrf_write_probe"
            probe.touch()
            # Tables may be created side by side.
            probe.unlink(missing_ok=True)
        except OSError as error:
            raise cannot_write(self.root, "the lake cannot be written", error, "lake.root") from None


def _quoted(text: str) -> str:
    return text.replace("\\", "\\\\").replace("'", "\\'")
