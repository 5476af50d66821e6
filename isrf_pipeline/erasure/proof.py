"""Scans every file of the lake for the clients that were erased, on the executors."""

from __future__ import annotations

import functools
import io
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, BinaryIO

from isrf_pipeline.erasure.contents import Place, places
from isrf_pipeline.erasure.history import table_folder
from isrf_pipeline.erasure.naming import ClientColumns, Wanted
from isrf_pipeline.lake import Lake
from isrf_pipeline.lake.existing import existing_tables
from isrf_pipeline.run.lock import local_root

if TYPE_CHECKING:
    import pyarrow as pa

_FOUND = "path string, found_in string, clients int"


@dataclass(frozen=True)
class Scan:
    """What was looked at, and what was found.

    Attributes
    ----------
    files, size
        Files and their bytes.
    found
        (file, where in it, how many of the clients), in the order of the files.
    """

    files: int
    size: int
    found: tuple[tuple[str, str, int], ...]


@dataclass(frozen=True)
class _File:
    path: str
    size: int
    columns: ClientColumns | None


def scan_lake(lake: Lake, wanted: Wanted, others: tuple[Path, ...] = ()) -> Scan:
    """Look for ``wanted`` in every file below the lake's root, and in further folders.

    Parameters
    ----------
    lake
        The lake, at rest.
    wanted
        Whom to look for; see :func:`isrf_pipeline.erasure.contents.places`.
    others
        Further folders, such as exports beside the lake.
    """
    local = local_root(lake.root)
    listed = _local((local,)) if local is not None else _remote(lake, lake.root)
    tables = _table_folders(lake)
    files = [
        _File(path, size, _columns_of(path, tables))
        for path, size in sorted({**listed, **_local(others)}.items())
    ]
    scanned = _scanned if local is not None else _scanned_remotely
    return Scan(len(files), sum(file.size for file in files), tuple(sorted(scanned(lake, files, wanted))))


def _table_folders(lake: Lake) -> dict[str, ClientColumns]:
    """Folder of each table to its columns that name clients."""
    return {
        _plain(table_folder(lake, table)): {name: (reference,) for name, reference in table.client_columns()}
        for table in existing_tables(lake)
    }


def _plain(path: str) -> str:
    """A path without the scheme of the local file system."""
    return "/" + path.removeprefix("file:").lstrip("/") if path.startswith("file:") else path


def _columns_of(path: str, tables: Mapping[str, ClientColumns]) -> ClientColumns | None:
    plain = _plain(path)
    return next((columns for folder, columns in tables.items() if plain.startswith(f"{folder}/")), None)


def _remote(lake: Lake, root: str) -> dict[str, int]:
    """Files below a folder of any file system that Hadoop knows, and their sizes."""
    jvm: Any = lake.spark.sparkContext._jvm
    folder = jvm.org.apache.hadoop.fs.Path(root)
    files = folder.getFileSystem(lake.spark._jsparkSession.sessionState().newHadoopConf())
    statuses = files.listFiles(folder, True)
    found = {}
    while statuses.hasNext():
        status = statuses.next()
        found[status.getPath().toString()] = status.getLen()
    return found


def _local(folders: tuple[Path, ...]) -> dict[str, int]:
    found = {}
    for folder in folders:
        for parent, _, names in os.walk(folder):
            for name in names:
                path = Path(parent, name)
                if path.is_file():
                    found[str(path.absolute())] = path.stat().st_size
    return found


def _scanned(lake: Lake, files: list[_File], wanted: Wanted) -> list[tuple[str, str, int]]:
    """Where files that all machines see under their paths name any of ``wanted``."""
    if not files:
        return []
    frame = lake.spark.createDataFrame([(file.path,) for file in files], "path string")
    # As many tasks as cores, each with files from all over the list: those of one table are alike in size.
    spread = frame.repartition(max(2, lake.spark.sparkContext.defaultParallelism))
    rows = spread.mapInArrow(_scanner(files, wanted, content=None), _FOUND).collect()
    return [(row["path"], row["found_in"], row["clients"]) for row in rows]


def _scanned_remotely(lake: Lake, files: list[_File], wanted: Wanted) -> list[tuple[str, str, int]]:
    """The same for files of an object store: Spark reads them, whole ones, one at a time in each task."""
    # Spark's readers pass over files with such names.
    hidden = [file for file in files if PurePosixPath(file.path).name.startswith(("_", "."))]
    found = [
        (file.path, place.where, len(place.identifiers))
        for file in hidden
        for place in places(
            PurePosixPath(file.path).name, functools.partial(_opened, lake, file.path), wanted, file.columns
        )
    ]
    shown = [file.path for file in files if file not in hidden]
    if shown:
        # One row a batch, or a batch of small files would wait for memory that a large one has.
        lake.spark.conf.set("spark.sql.execution.arrow.maxRecordsPerBatch", "1")
        contents = lake.spark.read.format("binaryFile").load(shown).select("path", "content")
        rows = contents.mapInArrow(_scanner(files, wanted, content="content"), _FOUND).collect()
        found += [(row["path"], row["found_in"], row["clients"]) for row in rows]
    return found


def _opened(lake: Lake, path: str) -> BinaryIO:
    """A small file, read by the driver."""
    jvm: Any = lake.spark.sparkContext._jvm
    file = jvm.org.apache.hadoop.fs.Path(path)
    stream = file.getFileSystem(lake.spark._jsparkSession.sessionState().newHadoopConf()).open(file)
    try:
        return io.BytesIO(bytes(jvm.org.apache.commons.io.IOUtils.toByteArray(stream)))
    finally:
        stream.close()


def _scanner(
    files: list[_File], wanted: Wanted, content: str | None
) -> Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    """Task that opens the files of its rows, or takes their content from a column."""
    columns = {file.path: file.columns for file in files}

    def scan(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        import pyarrow as pa

        for batch in batches:
            found: list[tuple[str, Place]] = []
            paths = batch.column("path").to_pylist()
            bodies = batch.column(content) if content is not None else [None] * len(paths)
            for path, body in zip(paths, bodies, strict=True):

                def opened(path: str = path, body: pa.Scalar | None = body) -> BinaryIO:
                    return Path(path).open("rb") if body is None else io.BytesIO(body.as_py())

                try:
                    of_file = places(PurePosixPath(path).name, opened, wanted, columns.get(path))
                except Exception as error:
                    # What cannot be read proves nothing, and the other files are worth a look all the same.
                    of_file = [Place(f"nothing could be read ({type(error).__name__})", frozenset())]
                found += [(path, place) for place in of_file]
            yield pa.RecordBatch.from_pydict(
                {
                    "path": pa.array([path for path, _ in found], pa.string()),
                    "found_in": pa.array([place.where for _, place in found], pa.string()),
                    "clients": pa.array([len(place.identifiers) for _, place in found], pa.int32()),
                }
            )

    return scan
