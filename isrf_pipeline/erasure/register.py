"""Who was erased, as salted hashes: the source files still have the client, and ingest must not bring him back."""

from __future__ import annotations

import datetime
import secrets
from typing import TYPE_CHECKING

from isrf_pipeline.ingest.rules import ERASED_CLIENT
from isrf_pipeline.lake import Lake, tables
from isrf_pipeline.lake.existing import delta_table

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame


def remember(lake: Lake, clients: DataFrame, run_id: str, at: datetime.datetime) -> None:
    """Note the hashes of ``clients`` (one column of identifiers) in ops.erased; known ones keep their date."""
    from pyspark.sql import functions as F

    lake.create(tables.ERASED)
    salt = _salt(lake) or secrets.token_hex(16)
    rows = clients.select(
        _hashed(F.lit(salt), F.col(clients.columns[0])).alias("client_hash"),
        F.lit(salt).alias("salt"),
        F.lit(at).alias("erased_at"),
        F.lit(run_id).alias("run_id"),
    )
    merge = (
        delta_table(lake, tables.ERASED)
        .alias("known")
        .merge(rows.alias("new"), "known.client_hash = new.client_hash")
    )
    merge.whenNotMatchedInsertAll().execute()


def lift(lake: Lake, clients: DataFrame) -> int:
    """Forget that ``clients`` (one column of identifiers) were erased, and return how many of them had been."""
    from pyspark.sql import functions as F

    salt = _salt(lake)
    if salt is None:
        return 0
    hashes = clients.select(_hashed(F.lit(salt), F.col(clients.columns[0])).alias("lifted_hash"))
    known = lake.read(tables.ERASED)
    count = known.join(hashes, F.col("client_hash") == F.col("lifted_hash"), "left_semi").count()
    if count:
        merge = delta_table(lake, tables.ERASED).merge(hashes, F.col("client_hash") == F.col("lifted_hash"))
        merge.whenMatchedDelete().execute()
    return count


def without_erased(lake: Lake, labelled: DataFrame, lines_kept: bool = True) -> DataFrame:
    """Give rows of erased clients the rule ``erased_client`` and no raw text, whatever other rule they break.

    Of a line that could not be read nobody knows whom it names: once a lake has erased anybody, such a line is kept as
    its length and hash only.

    Parameters
    ----------
    lake
        The lake.
    labelled
        user_id, raw, rule, and other columns, which stay as they are.
    lines_kept
        Whether ``raw`` of a line that could not be read is the line itself.
    """
    from pyspark.sql import functions as F

    salt = _salt(lake)
    if salt is None:
        return labelled
    known = lake.read(tables.ERASED).select(
        F.col("client_hash").alias("isrf_hash"), F.lit(True).alias("isrf_erased")
    )
    joined = labelled.withColumn("isrf_hash", _hashed(F.lit(salt), F.col("user_id"))).join(
        F.broadcast(known), "isrf_hash", "left"
    )
    erased = F.coalesce("isrf_erased", F.lit(False))
    hidden = F.concat(
        F.lit("line of "),
        F.length("raw"),
        F.lit(" characters, not kept as it may name an erased client; SHA-256 "),
        F.sha2("raw", 256),
    )
    unreadable = F.coalesce(F.col("rule") == "malformed_row", F.lit(False))
    return joined.withColumns(
        {
            "raw": F.when(unreadable, hidden if lines_kept else F.col("raw")).when(~erased, F.col("raw")),
            "rule": F.when(erased & ~unreadable, ERASED_CLIENT).otherwise(F.col("rule")),
        }
    ).select(*labelled.columns)


def _salt(lake: Lake) -> str | None:
    """Salt of the lake; None while nobody was erased."""
    if not lake.exists(tables.ERASED):
        return None
    row = lake.read(tables.ERASED).select("salt").first()
    return None if row is None else str(row[0])


def _hashed(salt: Column, client: Column) -> Column:
    from pyspark.sql import functions as F

    return F.sha2(F.concat(salt, client), 256)
