"""Clients: allow-listed attributes and marketing consent, and everyone who has events."""

from __future__ import annotations

from typing import TYPE_CHECKING

from isrf_pipeline.config.settings import ClientColumns, IngestSettings
from isrf_pipeline.ingest.items import attribute_map, first_of_each
from isrf_pipeline.ingest.parsing import Given
from isrf_pipeline.ingest.rules import first_broken, overlong, with_line_end, wrongly_decoded

if TYPE_CHECKING:
    from pyspark.sql import DataFrame


def mapped_columns(columns: ClientColumns) -> list[str]:
    """Columns of the source that the mapping names: no other is kept, in silver or in quarantine."""
    names = [columns.user_id, *columns.attributes]
    return names if columns.consent is None else [*names, columns.consent]


def parse_clients(
    rows: DataFrame, columns: ClientColumns, source: str, settings: IngestSettings
) -> DataFrame:
    """Turn source rows into clients.

    Consent is given only where the source says so in so many words; anything else is no consent.

    Returns
    -------
    DataFrame
        source, raw, rule (null for a good row), user_id, attributes, consent. Of several rows with one user_id the
        first in the order of the files is kept. Of a malformed line only length and hash are kept.
    """
    from pyspark.sql import functions as F

    given = Given(rows)
    hidden = F.concat(
        F.lit("line of "),
        F.length("raw"),
        F.lit(" characters, not kept as it may hold columns outside the allow-list; SHA-256 "),
        F.sha2("raw", 256),
    )
    parsed = rows.select(
        F.lit(source).alias("source"),
        F.when(F.col("malformed"), hidden).otherwise(F.col("raw")).alias("raw"),
        "place",
        "malformed",
        given.text(columns.user_id).alias("user_id"),
        attribute_map(given, columns.attributes).alias("attributes"),
        F.coalesce(given.flag(columns.consent), F.lit(False)).alias("consent"),
    )
    rule = first_broken(
        {
            "malformed_row": F.col("malformed"),
            "overlong_row": overlong(settings.max_row_chars, F.col("raw")),
            "missing_id": F.col("user_id").isNull(),
            "overlong_id": overlong(settings.max_id_chars, F.col("user_id")),
            "line_end_in_id": with_line_end(F.col("user_id")),
            "wrong_encoding": wrongly_decoded(F.col("user_id"), F.map_values("attributes")),
            "overlong_text": overlong(
                settings.max_text_chars, *[F.col("attributes").getItem(name) for name in columns.attributes]
            ),
        }
    )
    labelled = first_of_each(parsed.withColumn("rule", rule), "user_id")
    return labelled.select("source", "raw", "rule", "user_id", "attributes", "consent")


def everyone(clients: DataFrame | None, events: DataFrame) -> DataFrame:
    """Accepted clients, and those who have accepted events but no row of their own: no attributes, no consent.

    Parameters
    ----------
    clients
        user_id, attributes, consent; None where there is no client file.
    events
        user_id of accepted events.
    """
    from pyspark.sql import functions as F

    users = events.select("user_id").distinct()
    if clients is not None:
        users = users.join(clients.select("user_id"), "user_id", "left_anti")
    no_text = F.array().cast("array<string>")
    unnamed = users.select(
        "user_id", F.map_from_arrays(no_text, no_text).alias("attributes"), F.lit(False).alias("consent")
    )
    return unnamed if clients is None else clients.select(*unnamed.columns).unionByName(unnamed)
