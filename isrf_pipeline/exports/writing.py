"""Writes frames as files of fixed names and fixed content, on the executors; the driver only renames and hashes."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from isrf_pipeline.errors import EnvironmentMismatchError
from isrf_pipeline.exports.manifest import ExportedFile, describe_file

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

#: Rows of one Parquet file: about 100 MB of recommendations.
ROWS_PER_PARQUET_FILE = 1_000_000
_BLOCK_BYTES = 1 << 20


def write_csv_file(rows: DataFrame, folder: Path, name: str, order: str) -> ExportedFile:
    """Write ``rows`` as one CSV file: UTF-8, RFC 4180 (every field quoted, CRLF), header.

    Parameters
    ----------
    rows
        Text columns without line ends.
    folder
        Existing folder that driver and executors both see.
    name
        File name.
    order
        Column that orders the rows; its values must be unique.

    Raises
    ------
    EnvironmentMismatchError
        If what the executors wrote is not to be seen from the driver.
    """
    parts = folder / f".{name}.parts"
    # One task writes and sorts on disk: the file's order then depends on nothing but the rows.
    rows.repartition(1).sortWithinPartitions(order).write.csv(
        f"file://{parts}",
        header=True,
        quoteAll=True,
        escape='"',
        lineSep="\r\n",
        encoding="UTF-8",
        emptyValue="",
        ignoreLeadingWhiteSpace=False,
        ignoreTrailingWhiteSpace=False,
    )
    (part,) = _part_files(parts, "csv")
    path = folder / name
    part.rename(path)
    shutil.rmtree(parts)
    return describe_file(folder, path, _lines(path) - 1)


def write_parquet_folder(
    rows: DataFrame,
    folder: Path,
    name: str,
    spread_by: str,
    order: tuple[str, ...],
    files: int = 1,
) -> list[ExportedFile]:
    """Write ``rows`` as a folder of Parquet files ``part-00000.parquet``, ...

    Parameters
    ----------
    rows
        The rows.
    folder
        Existing folder that driver and executors both see.
    name
        Name of the folder of files.
    spread_by
        Column whose hash decides on a row's file.
    order
        Columns that order the rows of a file; together they must be unique.
    files
        Upper bound of the number of files.

    Raises
    ------
    EnvironmentMismatchError
        If what the executors wrote is not to be seen from the driver.
    """
    from pyarrow import parquet

    parts = folder / f".{name}.parts"
    rows.repartition(files, spread_by).sortWithinPartitions(*order).write.parquet(
        f"file://{parts}", compression="snappy"
    )
    target = folder / name
    target.mkdir()
    written = []
    for place, part in enumerate(_part_files(parts, "parquet")):
        path = target / f"part-{place:05d}.parquet"
        part.rename(path)
        written.append(describe_file(folder, path, parquet.read_metadata(path).num_rows))
    shutil.rmtree(parts)
    return written


def _part_files(parts: Path, suffix: str) -> list[Path]:
    found = sorted(parts.glob(f"part-*.{suffix}"))
    if not found:
        raise EnvironmentMismatchError(
            str(parts.parent),
            "the executors wrote their files where the driver does not see them",
            "set export.directory to a folder that is mounted on every machine of the cluster",
        )
    return found


def _lines(path: Path) -> int:
    # Cells hold no line ends, so a line feed ends a record.
    with path.open("rb") as content:
        return sum(block.count(b"\n") for block in iter(lambda: content.read(_BLOCK_BYTES), b""))
