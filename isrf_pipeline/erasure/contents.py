"""Clients in the contents of one file: columns, keys and cells that name a client, and text."""

from __future__ import annotations

import bz2
import csv
import gzip
import html
import io
import json
import lzma
import re
import zipfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any, BinaryIO, cast

from isrf_pipeline.erasure.naming import (
    ClientColumns,
    Wanted,
    client_values,
    references_by_name,
    references_of,
)
from isrf_pipeline.erasure.parquet_contents import in_parquet

_COMPRESSED: dict[str, Callable[[BinaryIO], Any]] = {
    ".gz": lambda file: gzip.GzipFile(fileobj=file),
    ".bz2": bz2.BZ2File,
    ".xz": lzma.LZMAFile,
}
_JSON = (".json", ".jsonl", ".ndjson", ".crc", ".log")
#: As the report's template has it.
_SHOWN_CLIENT = re.compile(rb"Client <bdi>(.*?)</bdi>", re.DOTALL)


@dataclass(frozen=True)
class Place:
    """Where a file names a client.

    Attributes
    ----------
    where
        Column, key or ``text``.
    identifiers
        Who.
    """

    where: str
    identifiers: frozenset[str]


def places(
    name: str, opened: Callable[[], BinaryIO], wanted: Wanted, columns: ClientColumns | None = None
) -> list[Place]:
    """Where a file names any of ``wanted``.

    Parquet is decoded column by column, with the bounds in its footer; JSON is parsed, and JSON within JSON (the
    statistics in Delta's log); CSV is split into cells; of the report the examples are read; compressed files are
    opened. Besides, the bytes of every file are searched as text.

    Parameters
    ----------
    name
        File name; its ending says how it is read.
    opened
        Opens the file, again each time.
    wanted
        Whom to look for.
    columns
        Columns that name clients, where the file belongs to a table of the lake; else the usual names count.
    """
    path = PurePosixPath(name)
    if path.suffix in _COMPRESSED:
        unpacked = _COMPRESSED[path.suffix]
        return places(path.stem, lambda: cast(BinaryIO, unpacked(opened())), wanted, columns)
    if path.suffix == ".zip":
        return _in_archive(opened, wanted, columns)
    found: dict[str, set[str]] = {}

    def note(where: str, identifiers: Iterable[str]) -> None:
        present = set(identifiers)
        if present:
            found.setdefault(where, set()).update(present)

    if path.suffix == ".parquet":
        with opened() as file:
            for where, identifiers in in_parquet(file, wanted, columns):
                note(where, identifiers)
    elif path.suffix in _JSON or path.name == "_last_checkpoint":
        with opened() as file:
            for key, value in _json_values(file, columns):
                note(f"key {key}", wanted.named(value, references_of(key, columns)))
    elif path.suffix in (".csv", ".tsv"):
        with opened() as file:
            for column, value in _cells(file, "\t" if path.suffix == ".tsv" else None):
                note(f"column {column}", wanted.named(value, references_of(column, columns)))
    elif path.suffix == ".html":
        with opened() as file:
            note("client shown", wanted.identifiers.intersection(shown_clients(file.read())))
    with opened() as file:
        note("text", wanted.text.in_stream(file))
    return [Place(where, frozenset(identifiers)) for where, identifiers in sorted(found.items())]


def _in_archive(opened: Callable[[], BinaryIO], wanted: Wanted, columns: ClientColumns | None) -> list[Place]:
    found = []
    with opened() as file, zipfile.ZipFile(file) as archive:
        for member in archive.namelist():

            def content(member: str = member) -> BinaryIO:
                return io.BytesIO(archive.read(member))

            found += places(member, content, wanted, columns)
    return found


def shown_clients(page: bytes) -> list[str]:
    """Clients that the report shows as examples."""
    return [html.unescape(name.decode("utf-8", "replace")) for name in _SHOWN_CLIENT.findall(page)]


# JSON


def _json_values(file: BinaryIO, columns: ClientColumns | None) -> Iterator[tuple[str, str]]:
    """Client values of JSON lines; of one document over several lines those of the document."""
    for line in file:
        try:
            parsed = json.loads(line)
        except ValueError:
            if line.strip() in (b"{", b"["):
                yield from _document_values(line + file.read(), columns)
            continue
        yield from client_values(parsed, columns)


def _document_values(text: bytes, columns: ClientColumns | None) -> Iterator[tuple[str, str]]:
    try:
        parsed = json.loads(text)
    except ValueError:
        return
    yield from client_values(parsed, columns)


# CSV


def _cells(file: BinaryIO, delimiter: str | None) -> Iterator[tuple[str, str]]:
    """(column, cell) of the columns that name clients; a cell without the apostrophe that keeps it from being run."""
    text = io.TextIOWrapper(file, encoding="utf-8-sig", errors="replace", newline="")
    if delimiter is None:
        delimiter = delimiter_of(text.readline())
        text.seek(0)
    rows = csv.reader(text, delimiter=delimiter)
    header = next(rows, [])
    named = [place for place, column in enumerate(header) if references_by_name(column)]
    for row in rows:
        for place in named:
            if place < len(row):
                yield header[place], row[place]
                if row[place].startswith("'"):
                    yield header[place], row[place][1:]
    text.detach()


def delimiter_of(header: str) -> str:
    """Sign between the cells of a header: the most frequent of comma, semicolon and tab."""
    return max(",;\t", key=header.count)
