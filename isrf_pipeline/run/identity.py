"""The night that a run is for, and the run's own name."""

from __future__ import annotations

import datetime
import secrets

from isrf_pipeline.errors import UsageError

_DAY_BEFORE = "before:"


def parse_run_date(text: str | None, today: datetime.date | None = None) -> datetime.date:
    """Night given on the command line; None is yesterday (UTC).

    Schedulers know the day on which they start a run, and cannot count: ``before:`` that day is the night it is for,
    also where a task starts or is repeated a day later.

    Raises
    ------
    UsageError
        If ``text`` is neither a day as YYYY-MM-DD nor ``before:`` and such a day.
    """
    if text is None:
        today = today or datetime.datetime.now(datetime.UTC).date()
        return today - datetime.timedelta(days=1)
    day = text.removeprefix(_DAY_BEFORE)
    try:
        date = datetime.date.fromisoformat(day)
    except ValueError:
        date = None
    if date is None or date.isoformat() != day:
        raise UsageError(
            f"--run-date {text}",
            "is not a day as YYYY-MM-DD",
            "write for example --run-date 2026-06-30, or before:2026-07-01 for the day before",
        )
    return date - datetime.timedelta(days=1) if text.startswith(_DAY_BEFORE) else date


def new_run_id(run_date: datetime.date, now: datetime.datetime | None = None) -> str:
    """Name of a run that sorts by night and start: ``<night>-<start in UTC>-<6 hexadecimal digits>``."""
    now = now or datetime.datetime.now(datetime.UTC)
    return f"{run_date:%Y%m%d}-{now:%Y%m%dT%H%M%SZ}-{secrets.token_hex(3)}"
