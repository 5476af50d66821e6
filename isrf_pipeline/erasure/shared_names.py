"""Identifiers that are, or are part of, the names of articles or of other clients."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from isrf_pipeline.erasure.identifiers import TextSearch, is_distinctive
from isrf_pipeline.erasure.naming import Wanted
from isrf_pipeline.erasure.rows import WANTED, wanted_frame
from isrf_pipeline.lake import Lake, tables

if TYPE_CHECKING:
    import pyarrow as pa


def wanted_of(lake: Lake, identifiers: tuple[str, ...]) -> Wanted:
    """Whom to look for, and whom of them in text.

    An identifier that is no more than a number or a word, that an article has too, or that is a part of another
    client's identifier, would be found in text where nobody means the client: such ones are compared as whole values
    only.
    """
    from pyspark.sql import functions as F

    candidates = [identifier for identifier in identifiers if is_distinctive(identifier)]
    shared = _shared(lake, frozenset(candidates)) if candidates else frozenset()
    text = TextSearch([identifier for identifier in candidates if identifier not in shared])
    hashed = wanted_frame(lake, identifiers).select(WANTED, F.xxhash64(WANTED)).collect()
    return Wanted(frozenset(identifiers), text, {row[1]: row[0] for row in hashed})


def _shared(lake: Lake, candidates: frozenset[str]) -> frozenset[str]:
    """Those of ``candidates`` that stand in the identifier of an article or of another client."""
    from pyspark.sql import functions as F

    search = TextSearch(candidates)

    def contained(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        import pyarrow as pa

        for batch in batches:
            names = "\n".join(batch.column("name").to_pylist()).encode("utf-8", "surrogatepass")
            yield pa.RecordBatch.from_pydict(
                {"identifier": pa.array(sorted(search.in_bytes(names)), pa.string())}
            )

    shared: set[str] = set()
    for table, name in ((tables.CLIENTS, "user_id"), (tables.ITEMS, "item_id")):
        if not lake.exists(table):
            continue
        names = lake.read(table).selectExpr(f"{name} AS name")
        if table is tables.CLIENTS:
            asked = wanted_frame(lake, tuple(sorted(candidates)))
            names = names.join(F.broadcast(asked), F.col("name") == F.col(WANTED), "left_anti")
        found = names.mapInArrow(contained, "identifier string").distinct().collect()
        shared |= {row["identifier"] for row in found}
    return frozenset(shared)
