"""Which nights were published, and which one is current: the rows of gold.publications."""

from __future__ import annotations

import datetime
from typing import TYPE_CHECKING, Literal

from isrf_pipeline.errors import InputRefusedError
from isrf_pipeline.lake import Lake, tables

if TYPE_CHECKING:
    from pyspark.sql import Row

#: An older night that is published beside a newer current one is added: it changes nothing of what is current.
Action = Literal["published", "added", "rolled back"]


def publications(lake: Lake) -> list[Row]:
    """All publications, the newest first; one row a night, so they are few."""
    from pyspark.sql import functions as F

    if not lake.exists(tables.PUBLICATIONS):
        return []
    return lake.read(tables.PUBLICATIONS).orderBy(F.desc("sequence")).collect()


def current_night(lake: Lake) -> datetime.date | None:
    """The night that consumers see; None before the first publication."""
    shown = (row["run_date"] for row in publications(lake) if row["action"] != "added")
    return next(shown, None)


def published_nights(lake: Lake) -> list[datetime.date]:
    """Every night that was ever published, in the order of dates."""
    return sorted({row["run_date"] for row in publications(lake)})


def require_published(lake: Lake, run_date: datetime.date) -> None:
    """Refuse a night that has not passed its gates.

    Raises
    ------
    InputRefusedError
        If it was never published.
    """
    if run_date not in published_nights(lake):
        raise InputRefusedError(
            f"night {run_date}",
            "is not published",
            "run the stage evaluate for it, which publishes it if its gates hold",
        )


def record_publication(
    lake: Lake, run_date: datetime.date, run_id: str, action: Action, versions: dict[str, int]
) -> None:
    """Note a publication by one row in one commit; unless it is ``added``, its night is the current one from then on.

    Parameters
    ----------
    lake
        The lake.
    run_date
        The night.
    run_id
        Run or command that publishes.
    action
        How it came to be current.
    versions
        Version of each delivered table that holds the night as it was published.
    """
    before = publications(lake)
    # Numbered, not dated: a clock that jumps back must not bring an older night back.
    sequence = before[0]["sequence"] + 1 if before else 1
    row = (sequence, run_date, run_id, datetime.datetime.now(datetime.UTC), action, versions)
    lake.append(tables.PUBLICATIONS, lake.spark.createDataFrame([row], tables.PUBLICATIONS.ddl()))
