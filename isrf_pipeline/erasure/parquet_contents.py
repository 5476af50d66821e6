"""Clients in Parquet: in columns of every depth, in text within them, and in the bounds of the footer."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, BinaryIO

from isrf_pipeline.erasure.naming import ClientColumns, Wanted, client_values, references_of

if TYPE_CHECKING:
    import pyarrow as pa

_ZIP_MAGIC = b"PK\x03\x04"


def in_parquet(
    file: BinaryIO, wanted: Wanted, columns: ClientColumns | None
) -> Iterator[tuple[str, set[str]]]:
    """(where, who) for all columns and bounds of a file; sets may be empty, and places may come again."""
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
                yield f"bounds of {leaf}", wanted.named(str(value), references_of(leaf, columns))


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

    references = references_of(name, columns)
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
                # Trained arrays, as numpy packs them.
                with zipfile.ZipFile(io.BytesIO(value)) as archive:
                    for member in archive.namelist():
                        yield wanted.text.in_bytes(archive.read(member))
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
                yield wanted.named(inner, references_of(key, columns))
