"""The catalogue: from source rows to items, each with the rule it breaks, if any."""

from __future__ import annotations

from typing import TYPE_CHECKING

from isrf_pipeline.config.settings import IngestSettings, ItemColumns
from isrf_pipeline.ingest.parsing import Given
from isrf_pipeline.ingest.rules import first_broken, overlong, with_line_end, wrongly_decoded

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame


def mapped_columns(columns: ItemColumns) -> list[str]:
    """Columns of the source that the mapping names."""
    single = (
        columns.item_id,
        columns.title,
        columns.brand,
        columns.categories,
        columns.description,
        columns.price,
        columns.available,
        columns.launched_on,
    )
    return [name for name in (*single, *columns.attributes) if name is not None]


def parse_items(rows: DataFrame, columns: ItemColumns, source: str, settings: IngestSettings) -> DataFrame:
    """Turn source rows into items.

    Parameters
    ----------
    rows
        As :func:`isrf_pipeline.ingest.sources.read_rows` returns them.
    columns
        Column mapping.
    source
        Name of the source.
    settings
        Longest row, identifier and text.

    Returns
    -------
    DataFrame
        source, raw, rule (null for a good row) and the columns of silver.items. Of several rows with one item_id the
        first in the order of the files is kept.
    """
    from pyspark.sql import functions as F

    given = Given(rows)
    parsed = rows.select(
        F.lit(source).alias("source"),
        "raw",
        "place",
        "malformed",
        given.text(columns.item_id).alias("item_id"),
        given.text(columns.title).alias("title"),
        given.text(columns.brand).alias("brand"),
        given.categories(columns.categories).alias("categories"),
        given.text(columns.description).alias("description"),
        given.number(columns.price).alias("price"),
        attribute_map(given, columns.attributes).alias("attributes"),
        given.flag(columns.available).alias("available"),
        given.instant(columns.launched_on).cast("date").alias("launched_on"),
        *[
            given.text(getattr(columns, name)).alias(f"_{name}")
            for name in ("price", "available", "launched_on")
        ],
    )
    unreadable = (F.col("_price").isNotNull() & F.col("price").isNull()) | (
        F.col("_available").isNotNull() & F.col("available").isNull()
    )
    rule = first_broken(
        {
            "malformed_row": F.col("malformed") | (F.col("item_id").isNotNull() & unreadable),
            "overlong_row": overlong(settings.max_row_chars, F.col("raw")),
            "missing_id": F.col("item_id").isNull(),
            "overlong_id": overlong(settings.max_id_chars, F.col("item_id")),
            "line_end_in_id": with_line_end(F.col("item_id")),
            "wrong_encoding": wrongly_decoded(
                *[F.col(c) for c in ("item_id", "title", "brand", "description")]
            ),
            "overlong_text": overlong(
                settings.max_text_chars,
                *[F.col(c) for c in ("title", "brand", "description")],
                F.array_join("categories", " "),
                *[F.col("attributes").getItem(name) for name in columns.attributes],
            ),
            "impossible_timestamp": F.col("_launched_on").isNotNull() & F.col("launched_on").isNull(),
            "negative_price": F.col("price") < 0,
        }
    )
    labelled = first_of_each(parsed.withColumn("rule", rule), "item_id")
    return labelled.select(
        "source",
        "raw",
        "rule",
        "item_id",
        "title",
        "brand",
        "categories",
        "description",
        "price",
        "attributes",
        F.coalesce("available", F.lit(True)).alias("available"),
        "launched_on",
        _content_hash().alias("content_hash"),
    )


def first_of_each(labelled: DataFrame, key: str) -> DataFrame:
    """Give the rule ``duplicate`` to good rows whose key an earlier good row has; earlier by place, then by content."""
    from pyspark.sql import Window
    from pyspark.sql import functions as F

    same = Window.partitionBy(key, "rule").orderBy("place", "raw")
    again = F.col("rule").isNull() & (F.row_number().over(same) > 1)
    return labelled.withColumn("rule", F.when(again, F.lit("duplicate")).otherwise(F.col("rule")))


def attribute_map(given: Given, names: list[str]) -> Column:
    """Map of the named columns that are not blank, in order of their names so that equal maps are written equally."""
    from pyspark.sql import functions as F

    if not names:
        return F.map_from_arrays(F.array().cast("array<string>"), F.array().cast("array<string>"))
    pairs = [part for name in sorted(set(names)) for part in (F.lit(name), given.attribute(name))]
    return F.map_filter(F.create_map(*pairs), lambda _, value: value.isNotNull())


def _content_hash() -> Column:
    """SHA-256 of everything that is reasoned over, as JSON with fields in a fixed order."""
    from pyspark.sql import functions as F

    content = F.struct("title", "brand", "categories", "description", "price", "attributes")
    return F.sha2(F.to_json(content), 256)
