"""What the report tells of a night's runs, out of their records."""

from __future__ import annotations

from typing import Any

from isrf_pipeline.report.nights import story_of


def records(*rows: tuple[str, str, str] | tuple[str, str, str, str]) -> list[Any]:
    return [
        {"run_id": run, "stage": stage, "status": status, "error": rest[0] if rest else None}
        for run, stage, status, *rest in rows
    ]


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
