"""Reads source files of every format into one shape, without losing or reinterpreting a row."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from isrf_pipeline.errors import InputRefusedError

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame, SparkSession

_LINE_UNREADABLE = "_isrf_malformed"
#: Lines whose keys are looked at before a mapped column counts as missing and the whole file is searched.
_SAMPLED_LINES = 200
_MAX_KEYS = 1000


@dataclass(frozen=True)
class Source:
    """One source.

    Attributes
    ----------
    name
        Name in quarantine, counts and messages.
    path
        File, folder or pattern, as Spark understands it.
    format
        csv, jsonl, parquet or delta.
    encoding
        Encoding of text files.
    only_mapped
        Whether columns that are not mapped must not be kept anywhere, not even in quarantine.
    """

    name: str
    path: str
    format: str
    encoding: str = "UTF-8"
    only_mapped: bool = False

    def __str__(self) -> str:
        return f"source '{self.name}' ({self.path})"


def read_rows(spark: SparkSession, source: Source, columns: Sequence[str]) -> DataFrame:
    """Read all rows of a source.

    Parameters
    ----------
    spark
        The session.
    source
        What to read.
    columns
        Mapped columns, as the source names them.

    Returns
    -------
    DataFrame
        - given: struct of the mapped columns; strings for csv and jsonl, else the types of the source;
        - malformed: whether the row could not be read as a row (its given values mean nothing then);
        - raw: the row as JSON, or the line as it stood where it is malformed;
        - place: struct of file, block and row that orders the rows as they stand in the files; nulls for delta,
          whose rows have no order.

    Raises
    ------
    InputRefusedError
        If the path does not exist, cannot be read in the format, or lacks a mapped column.
    """
    require_path(spark, source)
    readers = {
        "csv": _read_csv,
        "jsonl": _read_json_lines,
        "parquet": _read_columnar,
        "delta": _read_columnar,
    }
    try:
        return readers[source.format](spark, source, list(dict.fromkeys(columns)))
    except InputRefusedError:
        raise
    except Exception as error:
        raise unreadable(source, error) from error


def unreadable(source: Source, error: Exception) -> InputRefusedError:
    """Say in one line that Spark could not read a source."""
    first = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
    return InputRefusedError(
        str(source),
        f"cannot be read as {source.format} in {source.encoding} ({first.strip()[:200]})",
        "check the file, and format and encoding of the source in the configuration",
    )


def require_path(spark: SparkSession, source: Source) -> None:
    """Refuse a source whose path matches no file.

    Raises
    ------
    InputRefusedError
        Names the most similar file beside it.
    """
    jvm = spark.sparkContext._jvm
    assert jvm is not None
    path = jvm.org.apache.hadoop.fs.Path(source.path)
    try:
        files = path.getFileSystem(spark._jsparkSession.sessionState().newHadoopConf())
        found = files.globStatus(path)
        if found is not None and len(found) > 0:
            return
        folder = path.getParent() or jvm.org.apache.hadoop.fs.Path(".")
        beside = (
            [status.getPath().getName() for status in files.listStatus(folder)]
            if files.exists(folder)
            else []
        )
    except Exception as error:
        raise unreadable(source, error) from error
    near = nearest(path.getName(), beside)
    mend = f"did you mean {folder}/{near}" if near else "correct its path in the configuration"
    raise InputRefusedError(str(source), "does not exist", mend)


def nearest(name: str, candidates: Sequence[str]) -> str | None:
    """The candidate most similar to ``name`` whatever its case, or None where none is similar."""
    folded = {candidate.casefold(): candidate for candidate in sorted(candidates, reverse=True)}
    near = difflib.get_close_matches(name.casefold(), sorted(folded), n=1, cutoff=0.5)
    return folded[near[0]] if near else None


def require_columns(source: Source, wanted: Sequence[str], present: Sequence[str]) -> None:
    """Refuse a source that lacks a mapped column.

    Raises
    ------
    InputRefusedError
        Names the most similar column.
    """
    missing = [column for column in wanted if column not in present]
    if not missing:
        return
    near = nearest(missing[0], present)
    mend = (
        f"did you mean '{near}'; correct the column mapping"
        if near
        else f"map one of {', '.join(sorted(present)[:20])}"
    )
    more = f" (nor {', '.join(missing[1:])})" if len(missing) > 1 else ""
    raise InputRefusedError(str(source), f"has no column '{missing[0]}'{more}", mend)


def _read_csv(spark: SparkSession, source: Source, columns: list[str]) -> DataFrame:
    from pyspark.sql import functions as F
    from pyspark.sql.types import StringType, StructField, StructType

    reader = spark.read.options(
        header=True,
        multiLine=True,
        quote='"',
        # RFC 4180: a quote inside a quoted value is doubled, and a backslash is just a backslash.
        escape='"',
        encoding=source.encoding,
        mode="PERMISSIVE",
        columnNameOfCorruptRecord=_LINE_UNREADABLE,
        # With pruning, rows with too few or too many values would pass unnoticed.
        columnPruning=False,
        # Files of one folder whose columns stand in another order must not be read by position.
        enforceSchema=False,
    )
    header = reader.csv(source.path).columns
    if not header:
        raise no_rows(source)
    require_columns(source, columns, header)
    names = [*header, _LINE_UNREADABLE]
    rows = reader.schema(StructType([StructField(name, StringType()) for name in names])).csv(source.path)
    malformed = F.col(_LINE_UNREADABLE).isNotNull()
    kept = columns if source.only_mapped else header
    return rows.select(
        F.struct(*[_column(name) for name in columns]).alias("given"),
        malformed.alias("malformed"),
        F.coalesce(_LINE_UNREADABLE, F.to_json(F.struct(*[_column(name) for name in kept]))).alias("raw"),
        _place_of_text().alias("place"),
    )


def _read_json_lines(spark: SparkSession, source: Source, columns: list[str]) -> DataFrame:
    from pyspark.sql import functions as F
    from pyspark.sql.types import ArrayType, StringType, StructField, StructType

    # Spark keeps the bytes of a line as they are; this is where they become characters, invalid ones U+FFFD.
    utf8 = source.encoding.upper().replace("_", "-") in ("UTF-8", "UTF8")
    decoded = (
        F.make_valid_utf8("value")
        if utf8
        else F.decode(F.col("value").cast("binary"), source.encoding.upper())
    )
    lines = (
        spark.read.text(source.path)
        .select(F.ltrim(decoded, F.lit("\ufeff")).alias("raw"), _place_of_text().alias("place"))
        .where(F.length(F.btrim("raw", F.lit(" \t\r\n"))) > 0)
    )
    _require_keys(source, lines, columns)
    # Within brackets a line is one element exactly when it is one object: a second object on the line, which the
    # parser would otherwise drop in silence, makes it malformed.
    objects = F.from_json(
        F.concat(F.lit("["), "raw", F.lit("]")),
        ArrayType(StructType([StructField(name, StringType()) for name in columns])),
        {"allowUnquotedControlChars": "true"},
    )
    parsed = lines.withColumn("objects", objects)
    good = (F.size("objects") == 1) & F.col("objects")[0].isNotNull() & F.col("raw").rlike(r"^\s*\{")
    as_json = F.to_json(F.col("objects")[0]) if source.only_mapped else F.col("raw")
    return parsed.withColumn("malformed", ~F.coalesce(good, F.lit(False))).select(
        F.col("objects")[0].alias("given"),
        "malformed",
        F.when(F.col("malformed"), F.col("raw")).otherwise(as_json).alias("raw"),
        "place",
    )


def _require_keys(source: Source, lines: DataFrame, columns: list[str]) -> None:
    """Refuse a file in which a mapped key occurs nowhere; the whole file is searched only before refusing."""
    sampled = lines.selectExpr("json_object_keys(raw) AS keys").limit(_SAMPLED_LINES).collect()
    if set(columns) <= {key for row in sampled for key in row["keys"] or ()}:
        return
    found = lines.selectExpr("explode(json_object_keys(raw)) AS key").distinct().limit(_MAX_KEYS).collect()
    if not found:
        if lines.isEmpty():
            raise no_rows(source)
        raise InputRefusedError(
            str(source), "holds no line that is a JSON object", "check format and encoding of the source"
        )
    require_columns(source, columns, [row["key"] for row in found])


def _read_columnar(spark: SparkSession, source: Source, columns: list[str]) -> DataFrame:
    from pyspark.sql import functions as F

    rows = spark.read.format(source.format).load(source.path)
    require_columns(source, columns, rows.columns)
    kept = columns if source.only_mapped else rows.columns
    if source.format == "parquet":
        place = F.struct(
            F.col("_metadata.file_path").alias("file"),
            F.lit(0).cast("bigint").alias("block"),
            F.col("_metadata.row_index").alias("row"),
        )
    else:
        place = F.struct(
            F.lit(None).cast("string").alias("file"),
            F.lit(None).cast("bigint").alias("block"),
            F.lit(None).cast("bigint").alias("row"),
        )
    return rows.select(
        F.struct(*[_column(name) for name in columns]).alias("given"),
        F.lit(False).alias("malformed"),
        F.to_json(F.struct(*[_column(name) for name in kept])).alias("raw"),
        place.alias("place"),
    )


def _place_of_text() -> Column:
    """Order of rows within text files.

    The number of a row is not stable, but its order within one block of one file is: rows of a block are read in
    their order by one task. So the order of (file, block, row) is the same however the files are split.
    """
    from pyspark.sql import functions as F

    return F.struct(
        F.col("_metadata.file_path").alias("file"),
        F.col("_metadata.file_block_start").alias("block"),
        F.monotonically_increasing_id().alias("row"),
    )


def _column(name: str) -> Column:
    from pyspark.sql import functions as F

    return F.col("`" + name.replace("`", "``") + "`")


def no_rows(source: Source) -> InputRefusedError:
    """Say that a source is empty."""
    return InputRefusedError(
        str(source),
        "has no rows",
        "check the export that writes it, or take the source out of the configuration",
    )
