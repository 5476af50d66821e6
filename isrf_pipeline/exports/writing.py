"""Writes frames as files of fixed names and fixed content, on the executors; the driver only renames and hashes."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from isrf_pipeline.errors import EnvironmentMismatchError
from isrf_pipeline.exports.manifest import ExportedFile, describe_file
from isrf_pipeline.exports.parts import Part, write_parts
from isrf_pipeline.exports.profiles import Profile

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import DataFrame

#: Rows of one Parquet file: about 100 MB of recommendations.
ROWS_PER_PARQUET_FILE = 1_000_000


def write_profile(
    lines: DataFrame, folder: Path, profile: Profile, order: tuple[str, ...]
) -> list[ExportedFile]:
    """Write the lines of a profile that keep its rules as its file or files.

    Parameters
    ----------
    lines
        As :func:`isrf_pipeline.exports.lines.profile_lines` returns them.
    folder
        Existing folder that driver and executors both see.
    profile
        Names, what stands around rows, limits.
    order
        Columns that order the rows; together they must be unique.

    Raises
    ------
    EnvironmentMismatchError
        If what the executors wrote is not to be seen from the driver.
    """
    scratch = folder / f".{profile.name}.parts"
    scratch.mkdir()
    # One task writes and sorts on disk: the files then depend on nothing but the rows.
    ordered = (
        lines.where("rejection IS NULL")
        .select(*order, "line")
        .repartition(1)
        .sortWithinPartitions(*order)
        .select("line")
    )

    def write(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        import pyarrow as pa
        from pyspark import TaskContext

        # Where Spark starts a second attempt of the task, the two must not write into the same file.
        context = TaskContext.get()
        attempt = f"attempt-{context.taskAttemptId() if context is not None else 0}"
        (scratch / attempt).mkdir(parents=True, exist_ok=True)
        rows = (value.as_py().encode() for batch in batches for value in batch.column("line"))
        parts = write_parts(rows, scratch / attempt, profile)
        yield pa.RecordBatch.from_arrays(
            [
                pa.array([f"{attempt}/{part.name}" for part in parts], pa.string()),
                pa.array([part.rows for part in parts], pa.int64()),
            ],
            names=["name", "rows"],
        )

    written = [
        Part(row["name"], row["rows"])
        for row in ordered.mapInArrow(write, "name string, rows bigint").collect()
    ]
    if not written:
        # Spark starts no task where it knows that there is no row.
        written = write_parts((), scratch, profile)
    files = []
    for part in written:
        source, path = scratch / part.name, folder / Path(part.name).name
        if not source.exists():
            raise _unseen(folder)
        source.rename(path)
        files.append(describe_file(folder, path, part.rows))
    shutil.rmtree(scratch)
    return files


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
        Path of the folder of files, below ``folder``.
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

    parts = folder / f".{name.replace('/', '.')}.parts"
    rows.repartition(files, spread_by).sortWithinPartitions(*order).write.parquet(
        f"file://{parts}", compression="snappy"
    )
    target = folder / name
    target.mkdir(parents=True)
    found = sorted(parts.glob("part-*.parquet"))
    if not found:
        raise _unseen(folder)
    written = []
    for place, part in enumerate(found):
        path = target / f"part-{place:05d}.parquet"
        part.rename(path)
        written.append(describe_file(folder, path, parquet.read_metadata(path).num_rows))
    shutil.rmtree(parts)
    return written


def _unseen(folder: Path) -> EnvironmentMismatchError:
    return EnvironmentMismatchError(
        str(folder),
        "the executors wrote their files where the driver does not see them",
        "set export.directory to a folder that is mounted on every machine of the cluster",
    )
