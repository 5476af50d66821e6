"""How many rows a stage has read: those of the versions of the tables that it noted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from isrf_pipeline.lake import Lake, Table, tables

#: Rows of a table's version, by name and version: a version never changes.
KnownVolumes = dict[tuple[str, int], int]


def rows_read(lake: Lake, versions: Mapping[str, int], known: KnownVolumes) -> int:
    """Rows of all tables in the versions that were read, each table once, whatever of it was used.

    Delta answers from the statistics in its log, without reading a file.

    Parameters
    ----------
    lake
        The lake.
    versions
        Name to version, as in ops.runs; what is no table of the lake does not count.
    known
        What was counted before in this run; what is counted now is added.
    """
    declared = {**tables.ALL_TABLES, **tables.WAITING}
    read = {(name, version) for name, version in versions.items() if name in declared and version >= 0}
    known |= _counts(lake, [(declared[name], version) for name, version in sorted(read - known.keys())])
    return sum(known[key] for key in read)


def _counts(lake: Lake, versions: Sequence[tuple[Table, int]]) -> KnownVolumes:
    """Rows of each table's version, by one query."""
    if not versions:
        return {}
    counted = [
        f"SELECT '{table.name}' AS name, count(*) AS rows FROM {lake.address(table)} VERSION AS OF {version}"
        for table, version in versions
    ]
    found = {row["name"]: row["rows"] for row in lake.spark.sql(" UNION ALL ".join(counted)).collect()}
    return {(table.name, version): found[table.name] for table, version in versions}
