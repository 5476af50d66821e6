"""Structured lines for machines, progress for people."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from isrf_pipeline.logs import Progress, configure_logging, log_event, log_failure


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def leave_logging_as_it_was() -> Iterator[None]:
    yield
    configure_logging()


def lines_of(file: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]


def test_an_event_is_one_json_line_with_its_fields(tmp_path: Path) -> None:
    configure_logging(tmp_path / "run.log")
    log_event("stage_done", stage="ingest", rows=3, path=tmp_path, text="zwei\nZeilen é")
    (line,) = lines_of(tmp_path / "run.log")
    assert (line["event"], line["level"], line["rows"], line["path"]) == (
        "stage_done",
        "info",
        3,
        str(tmp_path),
    )
    assert line["text"] == "zwei\nZeilen é"
    assert str(line["time"]).endswith("Z")


def test_a_trace_goes_to_the_file_and_not_to_the_console(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    configure_logging(tmp_path / "run.log")
    try:
        raise ValueError("boom")
    except ValueError:
        log_failure("stage_failed", stage="ingest")
    (line,) = lines_of(tmp_path / "run.log")
    assert "ValueError: boom" in str(line["trace"])
    assert "boom" not in capsys.readouterr().err


def test_a_terminal_gets_no_json(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    configure_logging(tmp_path / "run.log")
    log_event("stage_done")
    assert terminal.getvalue() == ""
    assert len(lines_of(tmp_path / "run.log")) == 1


def test_configuring_again_does_not_write_lines_twice(tmp_path: Path) -> None:
    configure_logging(tmp_path / "first.log")
    configure_logging(tmp_path / "second.log")
    log_event("once")
    assert lines_of(tmp_path / "first.log") == []
    assert len(lines_of(tmp_path / "second.log")) == 1


def test_warnings_of_libraries_go_to_the_log_file(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    import warnings

    configure_logging(tmp_path / "run.log")
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        configure_logging(tmp_path / "run.log")
        warnings.warn("something is old", UserWarning, stacklevel=1)
    assert "something is old" in (tmp_path / "run.log").read_text(encoding="utf-8")
    assert "something is old" not in capfd.readouterr().err


def test_progress_shows_rows_rate_and_time_left_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    progress = Progress("articles", 200)
    progress.advance(50, failed=2)
    progress.advance(150)
    first, last = terminal.getvalue().split("\r")[1:]
    assert first.startswith("  articles: 50 of 200, ")
    assert "failed 2" in first
    assert not first.endswith("\n")
    assert last.startswith("  articles: 200 of 200, ")
    assert last.endswith("\n")


def test_progress_without_a_terminal_is_rare_and_ends_with_the_last_row(tmp_path: Path) -> None:
    configure_logging(tmp_path / "run.log")
    progress = Progress("articles", 100, every_seconds=3600)
    for _ in range(100):
        progress.advance(1)
    lines = lines_of(tmp_path / "run.log")
    assert len(lines) <= 2
    assert lines[-1]["rows"] == 100


def test_progress_of_nothing_to_do_ends_at_once(tmp_path: Path) -> None:
    configure_logging(tmp_path / "run.log")
    Progress("articles", 0).advance(0)
    assert lines_of(tmp_path / "run.log")[-1]["total"] == 0
