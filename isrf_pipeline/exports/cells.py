"""What a cell may hold: texts made safe and short enough, identifiers judged and never altered."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pyspark.sql import Column

#: Line ends and other control characters: one record must stay one line in whatever reads the file.
_CONTROL_CHARACTERS = r"[\x00-\x1f\x7f\u0085\u2028\u2029]+"
#: What a spreadsheet takes for a formula, the full-width forms of some Asian locales included. Apostrophes before it
#: count: else "=1" with one in front would be the same cell as "'=1", and two identifiers would become one.
_FORMULA_START = r"^'*[\s\u00a0\u3000\ufeff]*[=+\-@\uff1d\uff0b\uff0d\uff20]"
#: Characters that are one code point and two UTF-16 units.
_OUTSIDE_SUPPLEMENTARY = r"[^\x{10000}-\x{10FFFF}]"


def on_one_line(text: Column) -> Column:
    """``text`` with control characters as one space each; null is empty."""
    from pyspark.sql import functions as F

    return F.regexp_replace(F.coalesce(text.cast("string"), F.lit("")), _CONTROL_CHARACTERS, " ")


def neutralised(text: Column) -> Column:
    """``text`` that no spreadsheet executes.

    Titles come from whoever keeps the catalogue. A cell that begins with ``=``, ``+``, ``-`` or ``@``, whatever
    white space stands before it, gets an apostrophe in front, which spreadsheets read as "this is text".
    """
    from pyspark.sql import functions as F

    return F.when(is_formula(text), F.concat(F.lit("'"), text)).otherwise(text)


def without_markup(text: Column) -> Column:
    """``text`` whose angle brackets are single quotation marks: it reads the same and is no tag in any channel."""
    from pyspark.sql import functions as F

    return F.translate(text, "<>", "‹›")


def shortened(text: Column, max_length: int) -> Column:
    """``text`` of at most ``max_length`` UTF-16 units, with an ellipsis where something was cut off.

    It is cut between two characters, never within a surrogate pair.
    """
    from pyspark.sql import functions as F

    start = F.left(text, F.lit(max_length - 1))
    # Each character of two units in the start pushes one more character out.
    cut = F.left(text, F.lit(max_length - 1) - _supplementary(start))
    return F.when(utf16_length(text) <= max_length, text).otherwise(F.concat(cut, F.lit("…")))


def utf16_length(text: Column) -> Column:
    """Length in UTF-16 units."""
    from pyspark.sql import functions as F

    return F.length(text) + _supplementary(text)


def is_formula(text: Column) -> Column:
    """Whether a spreadsheet would take ``text`` for a formula."""
    return text.rlike(_FORMULA_START)


def holds_control_character(text: Column) -> Column:
    """Whether ``text`` could not stay on one line."""
    return text.rlike(_CONTROL_CHARACTERS)


def _supplementary(text: Column) -> Column:
    from pyspark.sql import functions as F

    return F.length(F.regexp_replace(text, _OUTSIDE_SUPPLEMENTARY, ""))
