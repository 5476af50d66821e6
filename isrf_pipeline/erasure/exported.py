"""Export folders: files are written again without the client, or the night's folder goes."""

from __future__ import annotations

import contextlib
import csv
import datetime
import gzip
import io
import json
import os
import re
import shutil
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, cast

from isrf_pipeline.erasure.contents import delimiter_of, places, shown_clients
from isrf_pipeline.erasure.naming import Wanted, client_values, references_by_name
from isrf_pipeline.exports.folder import replaced_folder
from isrf_pipeline.exports.manifest import MANIFEST_NAME, describe_file

#: What a manifest says of an erasure, for whoever loads the files.
_RETRAINED = "models that were trained with an erased client are trained again by the next run"
#: One client of the report's examples.
_EXAMPLE = re.compile(rb'<article class="client">.*?</article>\s*', re.DOTALL)
_NIGHT = re.compile(r"\d{4}-\d{2}-\d{2}")


@dataclass
class ExportErasure:
    """What became of the nights' folders.

    Attributes
    ----------
    rewritten
        Folders whose files were written again.
    removed
        Nights whose folder was removed, as a file of it could not be written again. Folders that are no night's are
        never removed: the proof names what they still hold.
    rows
        Rows that were left out.
    """

    rewritten: list[str] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    rows: int = 0


@dataclass(frozen=True)
class _Dropped:
    rows: int
    identifiers: frozenset[str]


def erase_from_exports(root: Path, wanted: Wanted, today: datetime.date, dry_run: bool) -> ExportErasure:
    """Take ``wanted`` out of every night's folder below ``root``.

    A folder changes as a whole, by renaming. Its manifest gets the new checksums, and says how many clients were
    erased, when, and that models are trained again; it does not say who.

    Parameters
    ----------
    root
        Folder of the nights' folders; it need not exist.
    wanted
        Whom to leave out.
    today
        Written to the manifests.
    dry_run
        Whether folders are only named.
    """
    done = ExportErasure()
    for folder in sorted(root.iterdir()) if root.is_dir() else []:
        if not folder.is_dir():
            continue
        night = _NIGHT.fullmatch(folder.name) is not None
        if not night and folder.name.startswith(".") and _NIGHT.match(folder.name[1:]):
            # What a run that was killed left beside its target.
            if not dry_run:
                shutil.rmtree(folder)
            continue
        if not _named_in(folder, wanted):
            continue
        if dry_run:
            done.rewritten.append(folder.name)
            continue
        rows = _rewrite(folder, wanted, today)
        if rows is None:
            if night:
                shutil.rmtree(folder)
                done.removed.append(folder.name)
        else:
            done.rewritten.append(folder.name)
            done.rows += rows
    return done


def _named_in(folder: Path, wanted: Wanted) -> list[Path]:
    """Files of ``folder`` that name any of ``wanted``."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return [path for path in files if places(path.name, lambda path=path: path.open("rb"), wanted)]  # type: ignore[misc]


class _NotRewritable(Exception):
    """A file names a client and is of no kind that can be written again."""


def _rewrite(folder: Path, wanted: Wanted, today: datetime.date) -> int | None:
    """Rows that were left out, or None where the folder cannot do without the client."""
    try:
        with replaced_folder(folder) as staging:
            # Linked, not copied: files that do not change cost nothing, those that do are replaced.
            shutil.copytree(folder, staging, copy_function=_link, dirs_exist_ok=True)
            named = _named_in(staging, wanted)
            if any(_is_of_delta(path, staging) for path in named):
                raise _NotRewritable
            dropped = {path: _without(path, wanted) for path in named}
            if _named_in(staging, wanted):
                raise _NotRewritable
            for manifest in staging.rglob(MANIFEST_NAME):
                _update_manifest(manifest, dropped, today)
    except _NotRewritable:
        return None
    return sum(change.rows for change in dropped.values())


def _is_of_delta(path: Path, folder: Path) -> bool:
    """Whether a file belongs to a Delta table below ``folder``, whose log knows the size of each file."""
    return any((parent / "_delta_log").is_dir() for parent in path.parents if parent.is_relative_to(folder))


def _link(source: str, target: str) -> str:
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)
    return target


def _without(path: Path, wanted: Wanted) -> _Dropped:
    """Write a file again without ``wanted``."""
    packed = path.suffix == ".gz"
    kind = path.with_suffix("").suffix if packed else path.suffix
    if kind == ".parquet" and not packed:
        return _parquet_without(path, wanted)
    rewriting: dict[str, Callable[[BinaryIO, BinaryIO, Wanted], _Dropped]] = {
        ".csv": _csv_without,
        ".tsv": _csv_without,
        ".jsonl": _lines_without,
        ".ndjson": _lines_without,
        ".json": _json_without,
        ".html": _report_without,
    }
    if kind not in rewriting:
        raise _NotRewritable
    partial = path.with_name(f".{path.name}.partial")
    with _opened(path, packed, "rb") as source, _opened(partial, packed, "wb") as target:
        dropped = rewriting[kind](source, target, wanted)
    partial.replace(path)
    return dropped


@contextlib.contextmanager
def _opened(path: Path, packed: bool, mode: str) -> Iterator[BinaryIO]:
    with path.open(mode) as file:
        if not packed:
            yield cast(BinaryIO, file)
            return
        # No time stamp: the same rows give the same bytes.
        with gzip.GzipFile(filename="", fileobj=file, mode=mode, mtime=0) as unpacked:
            yield cast(BinaryIO, unpacked)


def _csv_without(source: BinaryIO, target: BinaryIO, wanted: Wanted) -> _Dropped:
    """Other records keep their bytes."""
    records = _records(source)
    header = next(records, b"")
    target.write(header)
    decoded = header.decode("utf-8-sig", "replace")
    delimiter = delimiter_of(decoded)
    columns = next(csv.reader(io.StringIO(decoded), delimiter=delimiter), [])
    named = {place: references_by_name(column) for place, column in enumerate(columns)}
    rows, identifiers = 0, set[str]()
    for record in records:
        cells = next(csv.reader(io.StringIO(record.decode("utf-8", "replace")), delimiter=delimiter), [])
        found: set[str] = set()
        for place, references in named.items():
            if references and place < len(cells):
                found |= wanted.named(cells[place], references)
                found |= wanted.named(cells[place].removeprefix("'"), references)
        if found:
            rows, identifiers = rows + 1, identifiers | found
        else:
            target.write(record)
    return _Dropped(rows, frozenset(identifiers))


def _records(source: BinaryIO) -> Iterator[bytes]:
    """Records of a CSV file with their line ends; a quoted cell may go over several lines."""
    record = b""
    for line in source:
        record += line
        if record.count(b'"') % 2 == 0:
            yield record
            record = b""
    if record:
        yield record


def _lines_without(source: BinaryIO, target: BinaryIO, wanted: Wanted) -> _Dropped:
    rows, identifiers = 0, set[str]()
    for line in source:
        try:
            found = _named_by(json.loads(line), wanted)
        except ValueError:
            found = set()
        if found:
            rows, identifiers = rows + 1, identifiers | found
        else:
            target.write(line)
    return _Dropped(rows, frozenset(identifiers))


def _json_without(source: BinaryIO, target: BinaryIO, wanted: Wanted) -> _Dropped:
    """A JSON document without those elements of its lists that name a client."""
    rows, identifiers = 0, set[str]()

    def kept(value: Any) -> Any:
        nonlocal rows
        if isinstance(value, dict):
            return {key: kept(inner) for key, inner in value.items()}
        if not isinstance(value, list):
            return value
        left = []
        for element in value:
            # The innermost list that has the client: what stands beside him stays.
            inner = kept(element)
            found = _named_by(inner, wanted)
            if found:
                rows += 1
                identifiers.update(found)
            else:
                left.append(inner)
        return left

    try:
        content = kept(json.load(source))
    except ValueError:
        raise _NotRewritable from None
    target.write((json.dumps(content, ensure_ascii=False, indent=1) + "\n").encode())
    return _Dropped(rows, frozenset(identifiers))


def _named_by(parsed: Any, wanted: Wanted) -> set[str]:
    return {
        who for key, value in client_values(parsed) for who in wanted.named(value, references_by_name(key))
    }


def _report_without(source: BinaryIO, target: BinaryIO, wanted: Wanted) -> _Dropped:
    """The report without the examples that show a client."""
    identifiers: set[str] = set()

    def kept(example: re.Match[bytes]) -> bytes:
        found = wanted.text.in_bytes(example.group())
        found |= wanted.identifiers.intersection(shown_clients(example.group()))
        identifiers.update(found)
        return b"" if found else example.group()

    target.write(_EXAMPLE.sub(kept, source.read()))
    return _Dropped(0, frozenset(identifiers))


def _parquet_without(path: Path, wanted: Wanted) -> _Dropped:
    import pyarrow as pa
    import pyarrow.compute as pc
    from pyarrow import parquet

    partial = path.with_name(f".{path.name}.partial")
    rows, identifiers = 0, set[str]()
    with parquet.ParquetFile(path) as source:
        named = [field for field in source.schema_arrow if references_by_name(field.name)]
        packed = source.metadata.row_group(0).column(0).compression if source.num_row_groups else "snappy"
        with parquet.ParquetWriter(partial, source.schema_arrow, compression=packed.lower()) as target:
            for group in range(source.num_row_groups):
                table = source.read_row_group(group)
                kept = pa.array([True] * table.num_rows, pa.bool_())
                for field_ in named:
                    values = table.column(field_.name).combine_chunks()
                    found = {
                        value: wanted.named(str(value), references_by_name(field_.name))
                        for value in values.unique().to_pylist()
                        if value is not None
                    }
                    hits = [value for value, who in found.items() if who]
                    identifiers.update(*(found[value] for value in hits))
                    named_here = pc.is_in(values, value_set=pa.array(hits, values.type))
                    kept = pc.and_(kept, pc.invert(named_here))
                left = table.filter(kept)
                rows += table.num_rows - left.num_rows
                target.write_table(left)
    partial.replace(path)
    return _Dropped(rows, frozenset(identifiers))


def _update_manifest(path: Path, dropped: dict[Path, _Dropped], today: datetime.date) -> None:
    """Bring sizes, rows and checksums up to date, and tell of the erasure."""
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    for entry in content["files"]:
        file = path.parent / entry["path"]
        change = dropped.get(file)
        if change is None:
            continue
        rows = entry["rows"] - change.rows if entry.get("rows") is not None else None
        described = describe_file(path.parent, file, rows)
        entry.update({"bytes": described.size, "sha256": described.sha256})
        if rows is not None:
            entry["rows"] = rows
    clients = _all(change.identifiers for change in dropped.values())
    told = {"clients": len(clients), "on": today.isoformat(), "models": _RETRAINED}
    content["erased"] = [*content.get("erased", []), told]
    partial = path.with_suffix(".json.partial")
    partial.write_text(json.dumps(content, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    partial.replace(path)


def _all(sets: Iterable[frozenset[str]]) -> set[str]:
    return {identifier for members in sets for identifier in members}
