"""A clock that is set while a run holds a lake takes the lake from nobody who lives."""

from __future__ import annotations

import datetime
import itertools
import os
from pathlib import Path

import pytest

from isrf_pipeline.errors import LakeLockedError
from isrf_pipeline.run import silence
from isrf_pipeline.run.lock import LOCK_NAME, hold_lake, lock_holder
from isrf_pipeline.run.silence import is_silent

SECONDS, BEAT = 300.0, 60.0
DAY = 86400.0


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Seconds that were waited, without waiting."""
    waited: list[float] = []
    monkeypatch.setattr(silence, "_pause", waited.append)
    return waited


def test_who_gave_a_sign_a_moment_ago_lives_without_a_look(pauses: list[float]) -> None:
    for age in (0.0, SECONDS - 1, -1.0):
        assert not is_silent(lambda: 1.0, age, SECONDS, BEAT)
    assert pauses == []


@pytest.mark.parametrize("age", [SECONDS, DAY, -DAY], ids=["old", "clock set ahead", "clock set back"])
def test_whose_signs_look_old_is_watched_and_lives_if_another_comes(pauses: list[float], age: float) -> None:
    signs = itertools.chain([1.0, 1.0, 1.0], itertools.repeat(2.0))
    assert not is_silent(lambda: next(signs), age, SECONDS, BEAT)
    assert 0 < sum(pauses) <= 2 * BEAT


@pytest.mark.parametrize(("age", "watched"), [(SECONDS, 2 * BEAT), (DAY, 2 * BEAT), (-DAY, SECONDS)])
def test_who_gives_no_sign_under_watch_is_dead(pauses: list[float], age: float, watched: float) -> None:
    assert is_silent(lambda: 1.0, age, SECONDS, BEAT)
    # Twice a beat: a living holder cannot slip through. From the future, only the whole time tells.
    assert sum(pauses) == watched and max(pauses) < BEAT


def test_who_lets_go_under_watch_holds_nothing(pauses: list[float]) -> None:
    signs = iter([1.0, None, None])
    assert is_silent(lambda: next(signs), DAY, SECONDS, BEAT)
    assert is_silent(lambda: None, DAY, SECONDS, BEAT)


def _held_elsewhere(root: Path) -> Path:
    lock = root / LOCK_NAME
    lock.write_text(
        '{"run_id": "old", "host": "elsewhere", "pid": 1, "process_started": 0, "started": "then"}',
        encoding="utf-8",
    )
    return lock


@pytest.mark.parametrize("jump", [DAY, -DAY], ids=["ahead", "back"])
def test_a_living_run_of_another_host_keeps_its_lake_when_the_clock_jumps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, jump: float
) -> None:
    lock = _held_elsewhere(tmp_path)
    now = lock.stat().st_mtime
    # Touched before the clock of the file system was set; the next sign has its new time.
    os.utime(lock, (now - jump, now - jump))
    monkeypatch.setattr(silence, "_pause", lambda seconds: os.utime(lock))
    with (
        pytest.raises(LakeLockedError, match=r"run old .* holds the lake"),
        hold_lake(tmp_path, "new", SECONDS),
    ):
        pass
    assert getattr(lock_holder(tmp_path), "run_id", None) == "old"


@pytest.mark.parametrize("jump", [DAY, -DAY], ids=["ahead", "back"])
def test_a_dead_run_of_another_host_is_replaced_whatever_the_clock(
    tmp_path: Path, pauses: list[float], jump: float
) -> None:
    lock = _held_elsewhere(tmp_path)
    now = lock.stat().st_mtime
    os.utime(lock, (now - jump, now - jump))
    with hold_lake(tmp_path, "new", SECONDS) as replaced:
        assert replaced is not None and replaced.run_id == "old"
    assert pauses


def test_a_run_of_this_host_is_judged_without_a_clock(tmp_path: Path, pauses: list[float]) -> None:
    with hold_lake(tmp_path, "living", SECONDS):
        os.utime(tmp_path / LOCK_NAME, (0, 0))
        with pytest.raises(LakeLockedError, match="run living"), hold_lake(tmp_path, "new", SECONDS):
            pass
    assert pauses == []


def test_a_night_named_in_the_command_is_that_night_whatever_the_clock() -> None:
    from isrf_pipeline.run.identity import parse_run_date

    far = datetime.date(1970, 1, 1)
    assert parse_run_date("2026-06-30", today=far) == datetime.date(2026, 6, 30)
    assert parse_run_date("before:2026-07-01", today=far) == datetime.date(2026, 6, 30)
