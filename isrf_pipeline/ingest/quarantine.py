"""Counts rows by source and rule, refuses sources that are too dirty, and keeps what was turned away."""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from isrf_pipeline.errors import InputRefusedError, IsrfError
from isrf_pipeline.ingest.rules import ERASED_CLIENT
from isrf_pipeline.ingest.sources import Source, no_rows

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

#: Characters that are kept of a row above ingest.max_row_chars: enough to see where it comes from.
_KEPT_OF_OVERLONG = 1000


@dataclass
class SourceCount:
    """Rows of one source.

    Attributes
    ----------
    accepted
        Rows that break no rule.
    broken
        Rule to rows that break it.
    erased
        Rows of erased clients, which are dropped.
    """

    accepted: int = 0
    broken: dict[str, int] = field(default_factory=dict)
    erased: int = 0

    @property
    def quarantined(self) -> int:
        """Rows that break a rule."""
        return sum(self.broken.values())

    @property
    def rows(self) -> int:
        """All rows of the source."""
        return self.accepted + self.quarantined + self.erased


def count_rows(labelled: DataFrame, sources: Sequence[Source]) -> dict[str, SourceCount]:
    """Count rows by source and rule; a source without rows has a count of 0.

    Parameters
    ----------
    labelled
        source, rule (null for a good row).
    sources
        The sources that ``labelled`` was read from.
    """
    counts = {source.name: SourceCount() for source in sources}
    for row in labelled.groupBy("source", "rule").count().collect():
        count = counts[row["source"]]
        if row["rule"] is None:
            count.accepted = row["count"]
        elif row["rule"] == ERASED_CLIENT:
            count.erased = row["count"]
        else:
            count.broken[row["rule"]] = row["count"]
    return counts


def refuse_dirty(source: Source, count: SourceCount, max_share: float) -> None:
    """Refuse a source that is empty or in which too many rows break rules.

    Raises
    ------
    InputRefusedError
        Names the counts and the rule that most rows break.
    """
    if count.rows == 0:
        raise no_rows(source)
    if count.quarantined <= max_share * count.rows:
        return
    rule, rows = max(count.broken.items(), key=lambda entry: (entry[1], entry[0]))
    raise InputRefusedError(
        str(source),
        f"{count.quarantined:,} of {count.rows:,} rows ({count.quarantined / count.rows:.1%}) break rules, most of "
        f"them {rule} ({rows:,}); ingest.max_quarantine_share allows {max_share:.1%}; nothing was changed",
        "mend the source or its column mapping, or raise ingest.max_quarantine_share",
    )


def only_raw_of_broken(labelled: DataFrame, max_chars: int) -> DataFrame:
    """Forget the raw text of rows that are kept, and what is beyond the beginning of rows that are too long.

    It would be most of what is held in memory.

    Parameters
    ----------
    labelled
        raw, rule (null for a good row).
    max_chars
        Of longer rows the beginning, length and hash stay.

    Returns
    -------
    DataFrame
        ``labelled`` with another raw.
    """
    from pyspark.sql import functions as F

    begun = F.concat(
        F.left("raw", F.lit(_KEPT_OF_OVERLONG)),
        F.lit("… ("),
        F.length("raw"),
        F.lit(" characters, SHA-256 "),
        F.sha2("raw", 256),
        F.lit(")"),
    )
    kept = F.when(F.length("raw") > max_chars, begun).otherwise(F.col("raw"))
    return labelled.withColumn("raw", F.when(F.col("rule").isNotNull(), kept))


def quarantined_rows(labelled: Iterable[DataFrame], run_date: datetime.date, run_id: str) -> DataFrame:
    """Rows of all frames that break a rule, as silver.quarantine keeps them.

    Parameters
    ----------
    labelled
        Frames with source, raw and rule.
    run_date, run_id
        Night and run.
    """
    from pyspark.sql import Window
    from pyspark.sql import functions as F

    broken: DataFrame | None = None
    for frame in labelled:
        kept = F.col("rule").isNotNull() & (F.col("rule") != ERASED_CLIENT)
        part = frame.where(kept).select("source", "raw", "rule")
        broken = part if broken is None else broken.unionByName(part)
    assert broken is not None
    # Rows that are equal to the last character are still as many rows: their number makes the key unique.
    same = Window.partitionBy("source", "rule", "raw").orderBy("raw")
    number = F.row_number().over(same).cast("string")
    return broken.select(
        "source",
        F.sha2(F.concat_ws("\x1f", "rule", "raw", number), 256).alias("row_hash"),
        "raw",
        "rule",
        F.lit(run_date).alias("run_date"),
        F.lit(run_id).alias("run_id"),
    )


def require_nothing_lost(read: int, written: int) -> None:
    """Fail loudly where rows that were read ended neither in silver nor in quarantine, or twice."""
    if read != written:
        raise IsrfError(
            "ingest",
            f"read {read:,} rows but wrote {written:,} to silver and quarantine together",
            "report this as a defect, and do not use this night's tables",
        )
