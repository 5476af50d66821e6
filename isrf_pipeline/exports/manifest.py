"""The manifest: what a receiver checks before it loads a night's files."""

from __future__ import annotations

import datetime
import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

MANIFEST_NAME = "manifest.json"


@dataclass(frozen=True)
class ExportedFile:
    """One file of an export.

    Attributes
    ----------
    path
        Relative to the night's folder, with forward slashes.
    rows
        Rows in the file, header not counted; None where the file has no rows.
    size
        Bytes.
    sha256
        Hash of the content, hexadecimal.
    """

    path: str
    rows: int | None
    size: int
    sha256: str


def describe_file(folder: Path, path: Path, rows: int | None) -> ExportedFile:
    """Measure and hash ``path``, a file below ``folder``."""
    with path.open("rb") as content:
        digest = hashlib.file_digest(content, "sha256").hexdigest()
    return ExportedFile(path.relative_to(folder).as_posix(), rows, path.stat().st_size, digest)


def write_manifest(folder: Path, run_date: datetime.date, files: Iterable[ExportedFile]) -> Path:
    """Write ``manifest.json``; the last file of a folder, so its presence says that the rest is whole.

    It names neither the run nor the hour: the same night's data gives the same bytes.
    """
    entries: list[dict[str, Any]] = []
    for file in sorted(files, key=lambda file: file.path):
        entry: dict[str, Any] = {"path": file.path, "bytes": file.size, "sha256": file.sha256}
        if file.rows is not None:
            entry["rows"] = file.rows
        entries.append(entry)
    content = {"run_date": run_date.isoformat(), "files": entries}
    path = folder / MANIFEST_NAME
    partial = path.with_suffix(".json.partial")
    partial.write_text(json.dumps(content, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    partial.replace(path)
    return path
