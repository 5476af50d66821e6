"""The parts of a run that need no Spark: its night, its name, its hold on the lake, its lines."""

from __future__ import annotations

import datetime
import json
import os
import re
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from isrf_pipeline.errors import InputRefusedError, IsrfError, LakeLockedError, QualityGateError, UsageError
from isrf_pipeline.run import silence
from isrf_pipeline.run.failures import known_error, one_line
from isrf_pipeline.run.identity import new_run_id, parse_run_date
from isrf_pipeline.run.launch import native_output_in, run_log_file
from isrf_pipeline.run.lock import LOCK_NAME, hold_lake, local_root, lock_holder
from isrf_pipeline.run.terminal import complain, duration, say, text_table, visible
from isrf_pipeline.stages.registry import STAGE_NAMES, stage_range


def test_the_night_is_yesterday_unless_it_is_given() -> None:
    assert parse_run_date(None, datetime.date(2026, 3, 1)) == datetime.date(2026, 2, 28)
    assert parse_run_date("2026-06-30") == datetime.date(2026, 6, 30)
    assert parse_run_date("before:2026-03-01") == datetime.date(2026, 2, 28)
    for bad in (
        "2026-6-30",
        "2026-02-30",
        "2026-W01-1",
        "",
        "before:",
        "before:2026-02-30",
        "before:before:2026-03-01",
    ):
        with pytest.raises(UsageError):
            parse_run_date(bad)


def test_run_names_sort_by_night_and_start_and_differ() -> None:
    now = datetime.datetime(2026, 7, 1, 3, 4, 5, tzinfo=datetime.UTC)
    names = {new_run_id(datetime.date(2026, 6, 30), now) for _ in range(20)}
    assert len(names) == 20
    assert all(re.fullmatch(r"20260630-20260701T030405Z-[0-9a-f]{6}", name) for name in names)


def test_a_range_of_stages() -> None:
    assert stage_range(None, None) == STAGE_NAMES
    assert stage_range("recommend", None) == ("recommend", "evaluate", "export", "maintain")
    assert stage_range("ingest", "ingest") == ("ingest",)


def test_a_lake_is_held_once_and_let_go(tmp_path: Path) -> None:
    root = tmp_path / "new" / "lake"
    with hold_lake(root, "first", 300) as replaced:
        assert replaced is None
        holder = lock_holder(root)
        assert holder is not None
        assert (holder.run_id, holder.pid, holder.host) == ("first", os.getpid(), socket.gethostname())
        with (
            pytest.raises(LakeLockedError, match=rf"run first \(process {os.getpid()} on ") as caught,
            hold_lake(root, "second", 300),
        ):
            pass
        assert caught.value.exit_code == 5
        assert lock_holder(root) == holder
    assert lock_holder(root) is None


def test_a_failing_run_lets_go(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="boom"), hold_lake(tmp_path, "first", 300):
        raise ValueError("boom")
    assert lock_holder(tmp_path) is None


def write_lock(root: Path, **changes: object) -> None:
    row = {
        "run_id": "old",
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "process_started": 0,
        "started": "then",
    }
    (root / LOCK_NAME).write_text(json.dumps({**row, **changes}), encoding="utf-8")


def dead_process() -> int:
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    return child.pid


def test_the_lock_of_a_dead_process_is_taken_over(tmp_path: Path) -> None:
    write_lock(tmp_path, pid=dead_process())
    with hold_lake(tmp_path, "new", 300) as replaced:
        assert replaced is not None
        assert replaced.run_id == "old"
        assert getattr(lock_holder(tmp_path), "run_id", None) == "new"


def test_a_reused_process_id_is_no_holder(tmp_path: Path) -> None:
    write_lock(tmp_path, process_started=1)
    with hold_lake(tmp_path, "new", 300) as replaced:
        assert replaced is not None


@pytest.mark.parametrize("content", ["", None])
def test_a_lock_of_another_host_or_without_sense_holds_while_it_is_touched(
    tmp_path: Path, content: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(silence, "_pause", lambda seconds: None)
    write_lock(tmp_path, host="elsewhere", pid=dead_process())
    if content is not None:
        (tmp_path / LOCK_NAME).write_text(content, encoding="utf-8")
    with (
        pytest.raises(LakeLockedError, match=r"holds the lake; .* replaced after 300 s of silence"),
        hold_lake(tmp_path, "new", 300),
    ):
        pass
    touched = (tmp_path / LOCK_NAME).stat().st_mtime - 301
    os.utime(tmp_path / LOCK_NAME, (touched, touched))
    with hold_lake(tmp_path, "new", 300) as replaced:
        assert replaced is not None
        assert getattr(lock_holder(tmp_path), "run_id", None) == "new"
    assert list(tmp_path.iterdir()) == []


def test_a_living_process_of_this_host_is_never_replaced(tmp_path: Path) -> None:
    write_lock(tmp_path)
    os.utime(tmp_path / LOCK_NAME, (0, 0))
    with pytest.raises(LakeLockedError, match="run old"), hold_lake(tmp_path, "new", 300):
        pass


def test_a_run_that_lost_its_lake_says_so_and_leaves_the_lock_of_the_other(tmp_path: Path) -> None:
    with (
        pytest.raises(LakeLockedError, match=r"run old .* took the lake; run it again"),
        hold_lake(tmp_path, "sleeper", 0.05),
    ):
        write_lock(tmp_path, host="elsewhere")
        while not any(thread.name == "isrf-lock" for thread in threading.enumerate()):
            pass
        beat = next(thread for thread in threading.enumerate() if thread.name == "isrf-lock")
        while not beat.lost:  # type: ignore[attr-defined]
            beat.join(0.01)
    assert getattr(lock_holder(tmp_path), "run_id", None) == "old"


def test_a_holder_touches_its_lock(tmp_path: Path) -> None:
    with hold_lake(tmp_path, "living", 0.05):
        os.utime(tmp_path / LOCK_NAME, (0, 0))
        while (tmp_path / LOCK_NAME).stat().st_mtime == 0:
            threading.Event().wait(0.01)


def test_only_local_lakes_have_a_folder() -> None:
    assert local_root("s3a://bucket/lake") is None
    assert local_root("file:///data/lake") == local_root("file:/data/lake") == Path("/data/lake")
    assert local_root("data/lake") == Path("data/lake")


def test_logs_are_in_the_lake_or_in_the_temporary_folder(tmp_path: Path) -> None:
    assert run_log_file(str(tmp_path / "lake"), "r") == tmp_path / "lake" / "logs" / "r.log"
    assert "isrf-logs" in str(run_log_file("s3a://bucket/lake", "r"))


FROM_SPARK = """An exception was thrown from the Python worker. Please see the stack trace below.
Traceback (most recent call last):
  File "/x/reasoning/engine.py", line 12, in answer
    raise QualityGateError("answers", "40% are dead letters", "look at reasoning.answers")
isrf_pipeline.errors.QualityGateError: answers: 40% are dead letters; look at reasoning.answers.

\tat org.apache.spark.api.python.BasePythonRunner"""


def test_an_error_of_ours_is_found_in_what_spark_wraps_around_it() -> None:
    found = known_error(RuntimeError(FROM_SPARK))
    assert isinstance(found, QualityGateError)
    assert str(found) == "answers: 40% are dead letters; look at reasoning.answers."
    assert one_line(RuntimeError(FROM_SPARK)) == str(found)
    assert known_error(RuntimeError("isrf_pipeline.errors.load: x: y; z.")).__class__ is IsrfError
    assert known_error(RuntimeError("anything")) is None
    own = InputRefusedError("a", "b", "c")
    assert known_error(own) is own


def test_one_line_is_one_short_line() -> None:
    assert one_line(ValueError("first\nsecond")) == "ValueError: first"
    assert one_line(KeyboardInterrupt()) == "KeyboardInterrupt"
    assert len(one_line(ValueError("x" * 1000))) == 300


def test_children_write_to_the_log_and_we_to_the_terminal(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    log = tmp_path / "x.log"
    with native_output_in(log):
        subprocess.run(["sh", "-c", "echo from-child; echo noise >&2"], check=True)
        print("from us")
    os.write(2, b"afterwards\n")
    assert log.read_text(encoding="utf-8") == "from-child\nnoise\n"
    printed = capfd.readouterr()
    assert "from us" in printed.out
    assert printed.err == "afterwards\n"


@pytest.mark.parametrize(
    ("seconds", "told"), [(0.04, "0.0 s"), (12.34, "12.3 s"), (245.2, "4 min 05 s"), (3720, "1 h 02 min")]
)
def test_durations(seconds: float, told: str) -> None:
    assert duration(seconds) == told


def test_a_table_lines_its_columns_up() -> None:
    assert text_table(("a", "bb"), [("ccc", "d")]) == ["a    bb", "ccc  d"]


def test_a_run_that_a_scheduler_ends_lets_go_of_the_lake(tmp_path: Path) -> None:
    program = (
        "import sys, time, argparse\n"
        "from pathlib import Path\n"
        "from isrf_pipeline.cli import main as cli, machine\n"
        "from isrf_pipeline.run.lock import hold_lake\n"
        "def wait(arguments):\n"
        "    with hold_lake(Path(sys.argv[1]), 'waiting', 300):\n"
        "        print('held', flush=True)\n"
        "        time.sleep(600)\n"
        "def add(commands):\n"
        "    commands.add('doctor', 'wait').set_defaults(command=wait)\n"
        "machine.add_commands = add\n"
        "sys.exit(cli.main(['doctor']))\n"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    )
    assert child.stdout is not None
    assert child.stdout.readline() == "held\n"
    child.terminate()
    _, said = child.communicate(timeout=60)
    assert child.returncode == 143
    assert "isrf: error: ended by SIGTERM" in said
    assert lock_holder(tmp_path) is None


def test_what_is_printed_steers_no_terminal_and_turns_no_line(capsys: pytest.CaptureFixture[str]) -> None:
    say("client \x1b[2J\u202ezero\u200b\u2028")
    complain("--user \x07\u2066: is\nnobody")
    printed = capsys.readouterr()
    assert printed.out == "client \\x1b[2J\\u202ezero\\u200b\\u2028\n"
    assert printed.err == "isrf: error: --user \\x07\\u2066: is nobody\n"
    assert visible("é 12\u202f% – 👜") == "é 12\u202f% – 👜"
    assert text_table(("a", "b"), [("\u200b", "x")]) == ["a       b", "\\u200b  x"]
