"""From what a source gives to typed values; what cannot be read becomes null and never another value."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame
    from pyspark.sql.types import DataType

_BLANKS = " \t\r\n\u00a0"
_TRUE = ("true", "t", "yes", "y", "1", "1.0", "oui", "si", "ja")
_FALSE = ("false", "f", "no", "n", "0", "0.0", "non", "nein")


class Given:
    """The mapped columns of a source's rows as typed expressions.

    Parameters
    ----------
    rows
        Rows as :func:`isrf_pipeline.ingest.sources.read_rows` returns them.
    """

    def __init__(self, rows: DataFrame) -> None:
        from pyspark.sql.types import StructType

        given = rows.schema["given"].dataType
        assert isinstance(given, StructType)
        self._types: dict[str, DataType] = {field.name: field.dataType for field in given.fields}

    def text(self, name: str | None) -> Column:
        """Text without blanks around it; null where nothing is left. Lists become their elements, comma-separated."""
        from pyspark.sql import functions as F
        from pyspark.sql.types import ArrayType, MapType, StructType

        if name is None:
            return F.lit(None).cast("string")
        column, type_ = self._column(name), self._types[name]
        if isinstance(type_, ArrayType) and not isinstance(
            type_.elementType, ArrayType | StructType | MapType
        ):
            return trimmed(F.array_join(column.cast("array<string>"), ", "))
        if isinstance(type_, ArrayType | StructType | MapType):
            return trimmed(F.to_json(column))
        return trimmed(column.cast("string"))

    def attribute(self, name: str) -> Column:
        """Text; a JSON list of values, as JSON lines give it, becomes its elements, comma-separated."""
        from pyspark.sql import functions as F

        text = self.text(name)
        listed = F.array_join(F.from_json(text, "array<string>"), ", ")
        return F.when(text.startswith("["), F.coalesce(trimmed(listed), text)).otherwise(text)

    def instant(self, name: str | None) -> Column:
        """Timestamp; see :func:`instant`."""
        from pyspark.sql import functions as F
        from pyspark.sql.types import DateType, NumericType, TimestampNTZType, TimestampType

        if name is None:
            return F.lit(None).cast("timestamp")
        column, type_ = self._column(name), self._types[name]
        if isinstance(type_, TimestampType | TimestampNTZType | DateType):
            return column.cast("timestamp")
        if isinstance(type_, NumericType):
            return _epoch(column.try_cast("bigint"))
        return instant(self.text(name))

    def number(self, name: str | None) -> Column:
        """Finite double, or null."""
        from pyspark.sql import functions as F

        value = self.text(name).try_cast("double")
        return F.when(~F.isnan(value) & (F.abs(value) != float("inf")), value)

    def flag(self, name: str | None) -> Column:
        """Boolean from the usual words in any case, or null."""
        from pyspark.sql import functions as F

        word = F.lower(self.text(name))
        return F.when(word.isin(*_TRUE), True).when(word.isin(*_FALSE), False)

    def categories(self, name: str | None) -> Column:
        """Category path; see :func:`category_path`."""
        from pyspark.sql import functions as F
        from pyspark.sql.types import ArrayType

        if name is None:
            return F.lit(None).cast("array<string>")
        column, type_ = self._column(name), self._types[name]
        if isinstance(type_, ArrayType) and isinstance(type_.elementType, ArrayType):
            return category_path(column.cast("array<array<string>>"))
        if isinstance(type_, ArrayType):
            return category_path(F.array(column.cast("array<string>")))
        return categories_from_text(self.text(name))

    def _column(self, name: str) -> Column:
        from pyspark.sql import functions as F

        return F.col("given").getField(name)


def trimmed(text: Column) -> Column:
    """Text without blanks around it; null where nothing is left."""
    from pyspark.sql import functions as F

    return F.nullif(F.btrim(text, F.lit(_BLANKS)), F.lit(""))


def instant(text: Column) -> Column:
    """Timestamp from ISO 8601 (UTC where it names no zone), ``YYYYMMDD`` or an epoch in seconds, ms or µs.

    Anything else is null: among the forms that Spark would take are a bare year and a bare time of day, which it
    completes with today's date.
    """
    from pyspark.sql import functions as F

    return (
        F.when(text.rlike(r"^\d{4}-\d{1,2}-\d{1,2}([T ]\s*\d.*)?$"), text.try_cast("timestamp"))
        .when(text.rlike(r"^\d{8}$"), F.try_to_timestamp(text, F.lit("yyyyMMdd")))
        .when(text.rlike(r"^\d{9,16}$"), _epoch(text.try_cast("bigint")))
    )


def _epoch(number: Column) -> Column:
    from pyspark.sql import functions as F

    size = F.abs(number)
    return (
        F.when(size < 10**11, F.timestamp_seconds(number))
        .when(size < 10**14, F.timestamp_millis(number))
        .when(size < 10**17, F.timestamp_micros(number))
    )


def categories_from_text(text: Column) -> Column:
    """Category path from a JSON list, a JSON list of paths, or names separated by ``>`` or ``|``."""
    from pyspark.sql import functions as F

    paths = F.when(text.rlike(r"^\[\s*\["), F.from_json(text, "array<array<string>>")).when(
        text.startswith("["), F.array(F.from_json(text, "array<string>"))
    )
    # A list that is no JSON gives null, or a list of one null.
    readable = F.when(F.exists(paths, lambda path: path.isNotNull()), paths)
    return category_path(F.coalesce(readable, F.array(F.split(text, "[>|]"))))


def category_path(paths: Column) -> Column:
    """One path from several: the longest (the first among equals), then what the others name besides; null if empty."""
    from pyspark.sql import functions as F

    named = F.transform(
        F.filter(paths, lambda path: path.isNotNull()),
        lambda path: F.filter(F.transform(path, trimmed), lambda name: name.isNotNull()),
    )
    by_length = F.array_sort(
        F.transform(
            named,
            lambda path, place: F.struct(
                (-F.size(path)).alias("size"), place.alias("place"), path.alias("path")
            ),
        )
    )
    names = F.array_distinct(F.flatten(F.transform(by_length, lambda path: path["path"])))
    return F.when(F.size(names) > 0, names)
