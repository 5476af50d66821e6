"""What the report tells of a night's runs, out of their records."""

from __future__ import annotations

import datetime
from typing import Any

from isrf_pipeline.report.nights import erased_after, story_of


def records(*rows: tuple[str, str, str] | tuple[str, str, str, str]) -> list[Any]:
    return [
        {"run_id": run, "stage": stage, "status": status, "error": rest[0] if rest else None}
        for run, stage, status, *rest in rows
    ]


def test_an_erasure_belongs_to_the_night_that_ran_before_it() -> None:
    def at(hour: int) -> datetime.datetime:
        return datetime.datetime(2026, 7, 1, hour)

    first, second = datetime.date(2026, 6, 29), datetime.date(2026, 6, 30)
    runs: list[Any] = [
        {"run_date": night, "started_at": at(hour)} for night, hour in ((first, 1), (first, 2), (second, 5))
    ]
    found = erased_after(runs, [at(0), at(3), at(4), at(9)])
    assert found == {first: 2, second: 1}


def test_nothing_happened() -> None:
    assert story_of(records(("r1", "ingest", "done"), ("r1", "export", "done"))) == ()


def test_a_gate_is_told_with_its_words() -> None:
    found = story_of(
        records(("r1", "ingest", "done"), ("r1", "evaluate", "failed", "night 2026-06-30: is not published"))
    )
    assert found == ("evaluate failed: night 2026-06-30: is not published",)


def test_a_killed_run_leaves_no_record_but_its_successor_shows_it() -> None:
    found = story_of(
        records(
            ("r1", "ingest", "done"),
            ("r1", "build_user_graph", "done"),
            ("r2", "ingest", "skipped"),
            ("r2", "build_user_graph", "skipped"),
            ("r2", "optimize", "done"),
            ("r3", "ingest", "skipped"),
            ("r3", "optimize", "skipped"),
        )
    )
    assert found == ("a run ended without a word; the next went on at optimize",)


def test_a_failed_run_that_goes_on_is_told_once() -> None:
    found = story_of(
        records(
            ("r1", "ingest", "done"),
            ("r1", "optimize", "failed", "out of memory"),
            ("r2", "ingest", "skipped"),
            ("r2", "optimize", "done"),
        )
    )
    assert found == ("optimize failed: out of memory",)


def test_what_is_computed_again_after_a_change_is_no_crash() -> None:
    found = story_of(
        records(
            ("r1", "ingest", "done"),
            ("r1", "recommend", "done"),
            ("r1", "export", "done"),
            ("r2", "ingest", "skipped"),
            ("r2", "recommend", "done"),
            ("r2", "export", "done"),
        )
    )
    assert found == ()
