"""Free text of tables in which a client may be named: raw rows in quarantine, error lines of runs."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from isrf_pipeline.config import Settings
from isrf_pipeline.erasure.identifiers import clean_identifiers
from isrf_pipeline.erasure.naming import Wanted
from isrf_pipeline.erasure.rows import delete_keys
from isrf_pipeline.lake import Lake, tables
from isrf_pipeline.lake.existing import delta_table

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

#: The catalogue's rows name no clients.
_CATALOGUE = "items"
_BETWEEN_CELLS = re.compile(r'[,;\t|"]+')


def quarantined_keys(lake: Lake, wanted: Wanted, settings: Settings) -> DataFrame:
    """Keys of quarantined rows that name any of ``wanted``: source, row_hash.

    Of a row that was read as columns, the columns that the configuration maps to the client are compared; where it has
    none of them (its source is no longer configured), all of them. Of a line that could not be read, every cell is
    compared, and identifiers that are distinctive enough are looked for in its text.
    """
    named = client_columns_of_sources(settings)
    catalogue = _CATALOGUE not in {source.name for source in settings.ingest.interactions}

    def keys(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            chosen = [
                not (source == _CATALOGUE and catalogue) and names_any(raw, wanted, named)
                for source, raw in zip(
                    batch.column("source").to_pylist(), batch.column("raw").to_pylist(), strict=True
                )
            ]
            yield batch.select(["source", "row_hash"]).filter(pa.array(chosen, pa.bool_()))

    rows = lake.read(tables.QUARANTINE).select("source", "row_hash", "raw")
    return rows.mapInArrow(keys, "source string, row_hash string").distinct()


def client_columns_of_sources(settings: Settings) -> frozenset[str]:
    """Columns that the configured sources map to the client."""
    ingest = settings.ingest
    names = [source.columns.user_id for source in ingest.interactions]
    if ingest.clients is not None:
        names.append(ingest.clients.columns.user_id)
    if ingest.research is not None:
        names.append("user_id")
    return frozenset(names)


def names_any(raw: str, wanted: Wanted, named: Collection[str]) -> bool:
    """Whether a raw source row names any of ``wanted``; ``named`` are the columns that hold a client."""
    row = _as_columns(raw)
    if row is not None:
        values = [value for name, value in row.items() if name in named] or list(row.values())
        return any(
            identifier in wanted.identifiers for value in values for identifier in clean_identifiers([value])
        )
    if any(identifier in wanted.identifiers for identifier in clean_identifiers(_BETWEEN_CELLS.split(raw))):
        return True
    return bool(wanted.text) and bool(wanted.text.in_bytes(raw.encode("utf-8", "surrogatepass")))


def _as_columns(raw: str) -> dict[str, str] | None:
    """Columns of a row as JSON, numbers as they are written; None where it is no object."""
    try:
        row: Any = json.loads(raw, parse_int=str, parse_float=str)
    except ValueError:
        return None
    if not isinstance(row, dict):
        return None
    return {name: value for name, value in row.items() if isinstance(value, str)}


def redact_errors(lake: Lake, wanted: Wanted, dry_run: bool) -> int:
    """Replace ``wanted`` in the error lines of ops.runs and return how many lines named any."""
    from pyspark.sql import functions as F

    def redacted(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            lines = [
                wanted.text.redacted(line.encode("utf-8", "surrogatepass"))
                for line in batch.column("error").to_pylist()
            ]
            texts = pa.array([text.decode("utf-8", "replace") for text, _ in lines], pa.string())
            changed = pa.array([count > 0 for _, count in lines], pa.bool_())
            named = pa.RecordBatch.from_arrays(
                [batch.column("run_id"), batch.column("stage"), texts], ["found_run", "found_stage", "text"]
            )
            yield named.filter(changed)

    if not wanted.text or not lake.exists(tables.RUNS):
        return 0
    lines = (
        lake.read(tables.RUNS).where(F.col("error").isNotNull()).select("run_id", "stage", "error").distinct()
    )
    found = lines.mapInArrow(redacted, "found_run string, found_stage string, text string")
    # A stage that a run tried twice has two rows with one key.
    one = found.groupBy("found_run", "found_stage").agg(F.min("text").alias("text")).localCheckpoint()
    count = one.count()
    if count and not dry_run:
        same = (F.col("run_id") == F.col("found_run")) & (F.col("stage") == F.col("found_stage"))
        merge = delta_table(lake, tables.RUNS).merge(one, same & F.col("error").isNotNull())
        merge.whenMatchedUpdate(set={"error": F.col("text")}).execute()
    return count


def delete_quarantined(lake: Lake, wanted: Wanted, settings: Settings, dry_run: bool) -> int:
    """Delete quarantined rows that name any of ``wanted`` and return how many there are."""
    if not lake.exists(tables.QUARANTINE):
        return 0
    keys = quarantined_keys(lake, wanted, settings)
    return keys.count() if dry_run else delete_keys(lake, tables.QUARANTINE, keys)
