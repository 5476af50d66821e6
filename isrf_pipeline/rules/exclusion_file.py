"""Reads the file of articles that single clients must not be offered."""

from __future__ import annotations

from typing import TYPE_CHECKING

from isrf_pipeline.config.rules_settings import ClientExclusions
from isrf_pipeline.errors import InputRefusedError
from isrf_pipeline.ingest.parsing import Given
from isrf_pipeline.ingest.sources import Source, read_rows

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession


def read_client_exclusions(spark: SparkSession, given: ClientExclusions) -> DataFrame:
    """Read the file; identifiers lose the blanks around them, as at ingest.

    Parameters
    ----------
    spark
        The session.
    given
        Where the file is and which columns it has.

    Returns
    -------
    DataFrame
        user_id, item_id; distinct.

    Raises
    ------
    InputRefusedError
        If the file does not exist, cannot be read, lacks a column, or has a row without client or article: what must
        not be offered is never guessed.
    """
    from pyspark.sql import functions as F

    source = Source("rules.exclude.clients", given.path, given.format, given.encoding, only_mapped=True)
    columns = given.columns
    rows = read_rows(spark, source, [columns.user_id, columns.item_id])
    text = Given(rows)
    pairs = rows.select(
        "malformed",
        text.text(columns.user_id).alias("user_id"),
        text.text(columns.item_id).alias("item_id"),
    )
    broken = pairs.where("malformed OR user_id IS NULL OR item_id IS NULL").count()
    if broken:
        raise InputRefusedError(
            str(source),
            f"{broken:,} of its rows lack a client or an article, or cannot be read",
            f"mend these rows; each needs {columns.user_id} and {columns.item_id}",
        )
    return pairs.select(F.col("user_id"), F.col("item_id")).distinct()
