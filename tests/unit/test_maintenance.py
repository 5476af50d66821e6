"""What maintenance keeps: so many nights or days, and nothing that it did not write is touched."""

from __future__ import annotations

import datetime
from pathlib import Path

import pytest
from pydantic import ValidationError

from isrf_pipeline.config.maintenance_settings import MaintenanceSettings
from isrf_pipeline.lake.schema import Retention
from isrf_pipeline.maintenance.folders import remove_old_exports, remove_old_logs
from isrf_pipeline.maintenance.rows import first_kept

NIGHT = datetime.date(2026, 6, 30)
NIGHTS = [datetime.date(2025, 1, 1), datetime.date(2026, 6, 1), datetime.date(2026, 6, 29), NIGHT]


@pytest.mark.parametrize(("kept", "first"), [(1, 3), (2, 2), (3, 1), (4, 0), (60, 0)])
def test_nights_are_counted_as_the_table_has_them(kept: int, first: int) -> None:
    assert first_kept(NIGHTS, Retention("gold_nights"), kept, NIGHT) == NIGHTS[first]


def test_the_night_that_consumers_see_stays_with_all_that_came_after_it() -> None:
    assert first_kept(NIGHTS, Retention("gold_nights"), 2, NIGHT, NIGHTS[1]) == NIGHTS[1]
    assert first_kept(NIGHTS, Retention("gold_nights"), 2, NIGHT, NIGHT) == NIGHTS[2]


def test_days_are_counted_back_from_the_night() -> None:
    assert first_kept(NIGHTS, Retention("ops_days"), 30, NIGHT) == datetime.date(2026, 5, 31)
    # A night of the past keeps what was before it, and removes nothing that came since.
    assert first_kept(NIGHTS, Retention("ops_days"), 30, NIGHTS[0]) < NIGHTS[0]


def test_readers_are_protected_by_the_least_that_can_be_set() -> None:
    with pytest.raises(ValidationError, match="vacuum_hours"):
        MaintenanceSettings(vacuum_hours=1)
    with pytest.raises(ValidationError, match="gold_nights"):
        MaintenanceSettings(gold_nights=1)


def test_export_folders_of_old_nights_go_and_nothing_else(tmp_path: Path) -> None:
    for name in ("2026-06-27", "2026-06-28", "2026-06-29", "2026-06-30", "archive", "2026-13-01", "2026-6-1"):
        (tmp_path / name).mkdir()
    (tmp_path / "2026-01-01").write_text("a file")
    assert remove_old_exports(tmp_path, 2, datetime.date(2026, 6, 28)) == ["2026-06-27"]
    assert remove_old_exports(tmp_path, 2, None) == ["2026-06-28"]
    assert remove_old_exports(tmp_path, 2, None) == []
    left = {"2026-06-29", "2026-06-30", "archive", "2026-13-01", "2026-6-1", "2026-01-01"}
    assert {path.name for path in tmp_path.iterdir()} == left
    assert remove_old_exports(tmp_path / "nowhere", 2, None) == []


def test_run_logs_go_by_the_day_on_which_the_run_started(tmp_path: Path) -> None:
    names = (
        "20260630-20260331T235959Z-0a1b2c.log",
        # An old night that was run again lately.
        "20250101-20260401T000000Z-0a1b2c.log",
        "notes.log",
        "20260630-20261331T000000Z-0a1b2c.log",
    )
    for name in names:
        (tmp_path / name).touch()
    assert remove_old_logs(tmp_path, datetime.date(2026, 4, 1)) == 1
    assert {path.name for path in tmp_path.iterdir()} == set(names[1:])
