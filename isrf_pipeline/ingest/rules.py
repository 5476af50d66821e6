"""The rules that a source row must keep, and which one counts where it breaks several."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pyspark.sql import Column

#: In order of precedence: first whether there is a row at all, then the row by itself, then the row against the
#: catalogue, and against other rows last, so that a row is a duplicate only of a row that is kept.
RULES: tuple[str, ...] = (
    "malformed_row",
    "overlong_row",
    "missing_id",
    "overlong_id",
    "line_end_in_id",
    "wrong_encoding",
    "overlong_text",
    "impossible_timestamp",
    "future_timestamp",
    "negative_price",
    "unknown_item",
    "duplicate",
)

#: Of rows of clients who were erased: they are dropped, neither kept nor quarantined.
ERASED_CLIENT = "erased_client"

# Tab, line feed and carriage return are text; other control characters and the replacement character are scars of a
# wrong decoding (C1 controls are what Windows-1252 becomes when it is read as Latin-1). So is UTF-8 that was read as
# Windows-1252: no language has a capital A with tilde or circumflex before such signs.
_SCARS = (
    r"[\x00-\x08\x0B\x0C\x0E-\x1F\x7F-\x9F\uFFFD]|\u00E2\u20AC"
    r"|[\u00C2\u00C3][\u00A0-\u00BF\u0152\u0153\u0160\u0161\u0178\u017D\u017E\u0192\u02C6\u02DC\u2013\u2014"
    r"\u2018-\u201A\u201C-\u201E\u2020-\u2022\u2026\u2030\u2039\u203A\u20AC\u2122]"
)


# Identifiers stay on their line and in their cell wherever they are written, so no two become one there.
_LINE_ENDS = r"[\t\n\r\u2028\u2029]"


def first_broken(broken: Mapping[str, Column]) -> Column:
    """Name of the first rule in order of precedence whose condition holds, else null.

    Parameters
    ----------
    broken
        Rule to the condition under which it is broken; a null condition does not hold.
    """
    from pyspark.sql import functions as F

    assert set(broken) <= set(RULES)
    return F.coalesce(
        *[F.when(broken[rule], F.lit(rule)) for rule in RULES if rule in broken], F.lit(None).cast("string")
    )


def wrongly_decoded(*texts: Column) -> Column:
    """Whether any text (or list of texts) shows the scars of a wrong decoding."""
    from pyspark.sql import functions as F

    return F.concat_ws(" ", *texts).rlike(_SCARS)


def overlong(limit: int, *texts: Column) -> Column:
    """Whether any text is longer than ``limit`` characters."""
    from pyspark.sql import functions as F

    condition = F.lit(False)
    for text in texts:
        condition = condition | (F.coalesce(F.length(text), F.lit(0)) > limit)
    return condition


def with_line_end(*ids: Column) -> Column:
    """Whether any identifier holds a tab or a line end."""
    from pyspark.sql import functions as F

    condition = F.lit(False)
    for id_ in ids:
        condition = condition | F.coalesce(id_.rlike(_LINE_ENDS), F.lit(False))
    return condition


def impossible(instant: Column, earliest: str) -> Column:
    """Whether an instant is absent, unreadable or before the day ``earliest`` (UTC)."""
    from pyspark.sql import functions as F

    return instant.isNull() | (instant < F.lit(earliest).cast("timestamp"))


def after_night(instant: Column, run_date: datetime.date) -> Column:
    """Whether an instant lies after the end of ``run_date`` (UTC)."""
    from pyspark.sql import functions as F

    return instant >= F.lit((run_date + datetime.timedelta(days=1)).isoformat()).cast("timestamp")
