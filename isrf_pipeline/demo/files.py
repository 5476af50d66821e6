"""How the demo lake lies on disk: file formats, and the whole folder written at once or not at all."""

from __future__ import annotations

import csv
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from isrf_pipeline.demo.dirt import Row, json_line
from isrf_pipeline.errors import UsageError

MARKER = Path("truth") / "dirt.json"
"""A folder that holds this file was written here and may be replaced."""


@contextmanager
def replaced_folder(root: Path) -> Iterator[Path]:
    """Yield an empty folder beside `root` that takes its place when the block ends without an error.

    Raises
    ------
    UsageError
        When `root` holds something other than an earlier demo lake.
    """
    root = root.absolute()
    if root.exists() and not (root.is_dir() and ((root / MARKER).exists() or not any(root.iterdir()))):
        raise UsageError(str(root), "is not empty and holds no demo lake", "name a new or an empty folder")
    root.parent.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix=f".{root.name}.", dir=root.parent))
    try:
        fresh = work / "new"
        fresh.mkdir()
        yield fresh
        if root.exists():
            os.replace(root, work / "old")
        os.replace(fresh, root)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def write_jsonl(path: Path, rows: Sequence[Row | bytes]) -> None:
    """One JSON object a line, UTF-8; bytes go as they are, newline included."""
    path.write_bytes(b"".join(row if isinstance(row, bytes) else json_line(row) for row in rows))


def write_csv(path: Path, columns: Sequence[str], rows: Sequence[Row]) -> None:
    """CSV with a header, UTF-8, line feeds."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def write_parquet(path: Path, rows: Sequence[Row], schema: pa.Schema) -> None:
    """One row group, no pandas metadata: the bytes depend on the rows alone."""
    pq.write_table(pa.Table.from_pylist(list(rows), schema=schema), path, compression="snappy")


def write_json(path: Path, content: object) -> None:
    """Indented JSON for people to read."""
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
