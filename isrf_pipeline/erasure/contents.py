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
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, BinaryIO, cast

from isrf_pipeline.erasure.identifiers import TextSearch
from isrf_pipeline.lake.schema import ClientReference

if TYPE_CHECKING:
    import pyarrow as pa

#: Column or key to how it names a client.
ClientColumns = Mapping[str, Collection[ClientReference]]

#: Columns and keys of files that are no tables of the lake, compared without regard to case, blanks, ``_`` and ``-``.
CLIENT_NAMES: frozenset[str] = frozenset(
    (
        *("userid", "clientid", "customerid", "contactid", "profileid", "personid", "externalid", "uniqueid"),
        *("subscriberkey", "contactkey", "customerkey", "user", "client", "subject"),
    )
)
#: Those that hold a hash of the identifier, as the star schema for BI does.
HASHED_NAMES: frozenset[str] = frozenset(("clientkey",))
_COMPRESSED: dict[str, Callable[[BinaryIO], Any]] = {
    ".gz": lambda file: gzip.GzipFile(fileobj=file),
    ".bz2": bz2.BZ2File,
    ".xz": lzma.LZMAFile,
}
_JSON = (".json", ".jsonl", ".ndjson", ".crc", ".log")
#: As the report's template has it.
_SHOWN_CLIENT = re.compile(rb"Client <bdi>(.*?)</bdi>", re.DOTALL)
_WHOLE_NUMBER = re.compile(r"-?\d{1,20}")
_PLAIN, _HASHED = ClientReference(), ClientReference(hashed=True)
_ZIP_MAGIC = b"PK\x03\x04"


@dataclass(frozen=True)
class Wanted:
    """Whom to look for.

    Attributes
    ----------
    identifiers
        All of them: compared with whole values of columns that name clients.
    text
        Finds those that may be looked for in text.
    hashes
        Spark's xxhash64 of each identifier, and whose it is.
    """

    identifiers: frozenset[str]
    text: TextSearch
    hashes: Mapping[int, str] = field(default_factory=dict)

    def named(self, value: str, references: Iterable[ClientReference]) -> set[str]:
        """Who is named by a whole value of a column or key."""
        found = set()
        for reference in references:
            if reference.hashed:
                identifier = self.hashes.get(int(value)) if _WHOLE_NUMBER.fullmatch(value) else None
            else:
                plain = value.removeprefix(reference.prefix)
                fits = value.startswith(reference.prefix) and plain in self.identifiers
                identifier = plain if fits else None
            if identifier is not None:
                found.add(identifier)
        return found


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


def references_by_name(name: str) -> Collection[ClientReference]:
    """How a column or key of a file that is no table of the lake names a client, as its own name tells."""
    folded = re.sub(r"[ _-]", "", name.casefold())
    if folded in HASHED_NAMES:
        return (_PLAIN, _HASHED)
    return (_PLAIN,) if folded in CLIENT_NAMES else ()


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
            for where, identifiers in _in_parquet(file, wanted, columns):
                note(where, identifiers)
    elif path.suffix in _JSON or path.name == "_last_checkpoint":
        with opened() as file:
            for key, value in _json_values(file, columns):
                note(f"key {key}", wanted.named(value, _references(key, columns)))
    elif path.suffix in (".csv", ".tsv"):
        with opened() as file:
            for column, value in _cells(file, "\t" if path.suffix == ".tsv" else None):
                note(f"column {column}", wanted.named(value, _references(column, columns)))
    elif path.suffix == ".html":
        with opened() as file:
            note("client shown", wanted.identifiers.intersection(shown_clients(file.read())))
    with opened() as file:
        note("text", wanted.text.in_stream(file))
    return [Place(where, frozenset(identifiers)) for where, identifiers in sorted(found.items())]


def _references(name: str, columns: ClientColumns | None) -> Collection[ClientReference]:
    """How a value names a client of which nobody knows the row: where that depends on the row, it counts as nobody."""
    if columns is None:
        return references_by_name(name)
    return [reference for reference in columns.get(name, ()) if reference.when is None]


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


def client_values(content: Any, columns: ClientColumns | None = None) -> Iterator[tuple[str, str]]:
    """(key, value) of all strings under keys that name a client, at any depth, also in JSON that is a string itself."""
    if isinstance(content, dict):
        for key, value in content.items():
            if isinstance(value, str):
                if _references(key, columns):
                    yield key, value
                if value[:1] in ("{", "["):
                    try:
                        yield from client_values(json.loads(value), columns)
                    except ValueError:
                        continue
            elif isinstance(value, int) and not isinstance(value, bool) and _references(key, columns):
                yield key, str(value)
            else:
                yield from client_values(value, columns)
    elif isinstance(content, list):
        for value in content:
            yield from client_values(value, columns)


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


# Parquet


def _in_parquet(
    file: BinaryIO, wanted: Wanted, columns: ClientColumns | None
) -> Iterator[tuple[str, set[str]]]:
    import pyarrow.compute as pc
    from pyarrow import parquet

    content = parquet.ParquetFile(file)
    for group in range(content.num_row_groups):
        yield from _bounds(content.metadata.row_group(group), wanted, columns)
        for batch in content.iter_batches(row_groups=[group]):
            for name, column in zip(batch.schema.names, batch.columns, strict=True):
                for leaf, values in leaves(name, column):
                    for found in _in_values(leaf, values, wanted, columns):
                        yield f"column {leaf}", found
                for reference in (columns or {}).get(name, ()):
                    if reference.when is not None and reference.when[0] in batch.schema.names:
                        meant = pc.starts_with(batch.column(reference.when[0]), pattern=reference.when[1])
                        for value in column.filter(meant).unique().drop_null().to_pylist():
                            yield f"column {name}", wanted.named(value, (reference,))


def _bounds(group: Any, wanted: Wanted, columns: ClientColumns | None) -> Iterator[tuple[str, set[str]]]:
    for place in range(group.num_columns):
        chunk = group.column(place)
        if not chunk.is_stats_set or not chunk.statistics.has_min_max:
            continue
        leaf = chunk.path_in_schema.rpartition(".")[2]
        for bound in (chunk.statistics.min, chunk.statistics.max):
            value = bound.decode("utf-8", "replace") if isinstance(bound, bytes) else bound
            if isinstance(value, str | int):
                yield f"bounds of {leaf}", wanted.named(str(value), _references(leaf, columns))


def leaves(name: str, column: pa.Array) -> Iterator[tuple[str, pa.Array]]:
    """(name of the innermost field, values) of all text, bytes and whole numbers in a column, however nested."""
    import pyarrow as pa

    kind = column.type
    if pa.types.is_struct(kind):
        for field, values in zip(kind, column.flatten(), strict=True):
            yield from leaves(field.name, values)
    elif pa.types.is_map(kind):
        yield from leaves(name, column.keys)
        yield from leaves(name, column.items)
    elif pa.types.is_list(kind) or pa.types.is_large_list(kind):
        yield from leaves(name, column.flatten())
    elif pa.types.is_dictionary(kind):
        yield from leaves(name, column.dictionary)
    elif any(
        of_kind(kind)
        for of_kind in (
            pa.types.is_string,
            pa.types.is_large_string,
            pa.types.is_binary,
            pa.types.is_large_binary,
            pa.types.is_int64,
        )
    ):
        yield name, column


def _in_values(
    name: str, values: pa.Array, wanted: Wanted, columns: ClientColumns | None
) -> Iterator[set[str]]:
    import pyarrow as pa
    import pyarrow.compute as pc

    references = _references(name, columns)
    if pa.types.is_int64(values.type):
        if any(reference.hashed for reference in references):
            sought = pa.array(list(wanted.hashes), pa.int64())
            hits = values.filter(pc.is_in(values, value_set=sought)).unique()
            yield {wanted.hashes[value] for value in hits.to_pylist()}
        return
    distinct = values.unique().drop_null()
    if pa.types.is_binary(values.type) or pa.types.is_large_binary(values.type):
        for value in distinct.to_pylist():
            yield wanted.text.in_bytes(value)
            if value.startswith(_ZIP_MAGIC):
                archive = _in_archive(lambda value=value: io.BytesIO(value), wanted, columns)  # type: ignore[misc]
                yield {identifier for place in archive for identifier in place.identifiers}
        return
    for reference in references:
        sought = pa.array([reference.prefix + identifier for identifier in wanted.identifiers], distinct.type)
        hits = distinct.filter(pc.is_in(distinct, value_set=sought))
        yield {value.removeprefix(reference.prefix) for value in hits.to_pylist()}
    if references or name in (columns or {}):
        # A longer identifier of another client may hold a wanted one.
        return
    if wanted.text and len(distinct):
        joined = "\n".join(distinct.to_pylist()).encode("utf-8", "surrogatepass")
        yield wanted.text.in_bytes(joined)
    for value in distinct.to_pylist():
        if value[:1] in ("{", "["):
            try:
                parsed = json.loads(value)
            except ValueError:
                continue
            for key, inner in client_values(parsed, columns):
                yield wanted.named(inner, _references(key, columns))
