"""Rows as the lines that a profile declares, and the rows that it must leave out with the rule they broke."""

from __future__ import annotations

from typing import TYPE_CHECKING

from isrf_pipeline.exports.cells import (
    holds_control_character,
    is_formula,
    neutralised,
    on_one_line,
    shortened,
    utf16_length,
    without_markup,
)
from isrf_pipeline.exports.profiles import ExportColumn, Profile

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame


def profile_lines(rows: DataFrame, profile: Profile, order: tuple[str, ...]) -> DataFrame:
    """Rows as lines of ``profile``.

    Parameters
    ----------
    rows
        Rows with what the profile's columns are made of.
    profile
        Columns, limits, form.
    order
        Columns of ``rows`` that order the lines.

    Returns
    -------
    DataFrame
        ``order``, line (string), rejection (struct of column and rule; null where the row may be delivered).
    """
    from pyspark.sql import functions as F

    form = _json_line if profile.delimiter is None else _csv_line
    lines = rows.select(*order, form(profile).alias("line"), _broken_rule(profile).alias("rejection"))
    if profile.row_limit is None:
        return lines
    too_large = F.struct(
        F.lit("").alias("column"), F.lit(f"row larger than {profile.row_limit} bytes").alias("rule")
    )
    return lines.withColumn(
        "rejection",
        F.coalesce("rejection", F.when(F.octet_length("line") > profile.row_limit, too_large)),
    )


def rejected_rows(lines: DataFrame, profile: Profile) -> DataFrame:
    """The rows among ``lines`` that ``profile`` leaves out.

    Parameters
    ----------
    lines
        As :func:`profile_lines` returns them, ordered by user_id among others.
    profile
        Their profile.

    Returns
    -------
    DataFrame
        profile, user_id, column (empty where the row as a whole is at fault), rule.
    """
    from pyspark.sql import functions as F

    return lines.where("rejection IS NOT NULL").select(
        F.lit(profile.name).alias("profile"), "user_id", "rejection.column", "rejection.rule"
    )


def _csv_line(profile: Profile) -> Column:
    from pyspark.sql import functions as F

    assert profile.delimiter is not None
    cells = []
    for column in profile.columns:
        value = F.expr(column.source)
        if column.kind == "text":
            cells.append(_quoted(_text(value, column, profile)))
        elif column.kind == "identifier":
            text = F.coalesce(value.cast("string"), F.lit(""))
            cells.append(_quoted(neutralised(text) if profile.formula_identifiers == "marked" else text))
        else:
            text = F.coalesce(value.cast("string"), F.lit(""))
            cells.append(_quoted(text) if profile.quoted == "all" else text)
    return F.concat_ws(profile.delimiter, *cells)


def _quoted(text: Column) -> Column:
    from pyspark.sql import functions as F

    return F.concat(F.lit('"'), F.replace(text, F.lit('"'), F.lit('""')), F.lit('"'))


def _json_line(profile: Profile) -> Column:
    from pyspark.sql import functions as F

    values = {}
    for column in profile.columns:
        value = F.expr(column.source)
        values[column.name] = _text(value, column, profile) if column.kind == "text" else value
    return F.to_json(_nested(values), {"ignoreNullFields": "false"})


def _nested(values: dict[str, Column]) -> Column:
    """One struct of ``values``, whose names are dotted paths; paths that begin alike stand side by side."""
    from pyspark.sql import functions as F

    inner: dict[str, dict[str, Column]] = {}
    fields: dict[str, Column | None] = {}
    for path, value in values.items():
        first, _, rest = path.partition(".")
        fields[first] = None if rest else value
        if rest:
            inner.setdefault(first, {})[rest] = value
    return F.struct(
        *[(_nested(inner[name]) if value is None else value).alias(name) for name, value in fields.items()]
    )


def _text(value: Column, column: ExportColumn, profile: Profile) -> Column:
    text = value.cast("string")
    if profile.delimiter is not None or profile.rendered:
        text = on_one_line(text)
    if profile.rendered:
        text = without_markup(text)
    if profile.neutralised:
        text = neutralised(text)
    return text if column.max_length is None else shortened(text, column.max_length)


def _broken_rule(profile: Profile) -> Column:
    """Struct of the first identifier that breaks a rule, and the rule."""
    from pyspark.sql import functions as F

    broken = [F.lit(None).cast("struct<column: string, rule: string>")]
    for column in profile.columns:
        if column.kind != "identifier":
            continue
        value = F.expr(column.source).cast("string")
        rules = []
        if column.max_bytes is not None:
            rules.append((F.octet_length(value) > column.max_bytes, f"longer than {column.max_bytes} bytes"))
        if column.max_length is not None:
            rules.append(
                (utf16_length(value) > column.max_length, f"longer than {column.max_length} characters")
            )
        if profile.delimiter is not None:
            rules.append((holds_control_character(value), "holds a control character"))
        if profile.formula_identifiers == "left_out":
            rules.append((is_formula(value), "would be a formula in a spreadsheet"))
        broken += [
            F.when(holds, F.struct(F.lit(column.name).alias("column"), F.lit(rule).alias("rule")))
            for holds, rule in rules
        ]
    return F.coalesce(*broken)
