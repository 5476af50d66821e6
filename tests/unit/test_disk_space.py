"""A disk without room is one line that names the folder and the mend, from whatever it comes, and hides nothing."""

from __future__ import annotations

import errno
import json
import logging
import os
from pathlib import Path

import pytest

from isrf_pipeline.cli import machine
from isrf_pipeline.cli.main import main
from isrf_pipeline.environment.space import cannot_write, no_space
from isrf_pipeline.errors import EnvironmentMismatchError
from isrf_pipeline.logs import configure_logging, log_event
from isrf_pipeline.run import lock
from isrf_pipeline.run.execution import logged_to
from isrf_pipeline.run.failures import known_error, one_line

FULL = Path("/dev/full")

needs_full = pytest.mark.skipif(not FULL.exists(), reason="only Linux has /dev/full")


class _FromSpark(Exception):
    """As Spark's own: what Java says is beside the message."""

    def __init__(self, message: str, trace: str) -> None:
        super().__init__(message)
        self._stackTrace = trace


def full_disk() -> OSError:
    return OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize(
    "error",
    [
        full_disk(),
        OSError(errno.EDQUOT, os.strerror(errno.EDQUOT)),
        OSError(errno.EFBIG, os.strerror(errno.EFBIG)),
        RuntimeError(
            "An error occurred while calling o9.save.\n: java.io.IOException: No space left on device"
        ),
        _FromSpark(
            "[TASK_WRITE_FAILED] Task failed while writing rows.",
            "java.io.IOException: No space left on device",
        ),
    ],
    ids=["full", "quota", "file size", "java", "spark"],
)
def test_an_error_without_room_is_known_by_what_the_system_says(error: Exception, tmp_path: Path) -> None:
    known = known_error(error, [str(tmp_path / "not there"), str(tmp_path)])
    assert isinstance(known, EnvironmentMismatchError) and known.exit_code == 2
    assert known.subject == str(tmp_path)
    assert known.mend == "free space there and start the run again: it goes on where it stopped"
    try:
        raise RuntimeError("the stage failed") from error
    except RuntimeError as outer:
        assert known_error(outer, [str(tmp_path)]) is not None


def test_the_folder_with_the_least_room_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from isrf_pipeline.environment import space

    class Usage:
        def __init__(self, free: float) -> None:
            self.free = free

    small = tmp_path / "small"
    small.mkdir()
    monkeypatch.setattr(
        space.shutil, "disk_usage", lambda folder: Usage(2e6 if folder == str(small) else 9e9)
    )
    found = no_space("No space left on device", [str(tmp_path), str(small)])
    assert found is not None
    assert str(found).startswith(
        f"{small}: cannot take what is written (No space left on device; 0.0 GB are free)"
    )
    assert no_space("no rows are left", [str(small)]) is None


def test_a_full_folder_is_not_mended_by_access(tmp_path: Path) -> None:
    denied = cannot_write(
        str(tmp_path), "cannot be written", OSError(errno.EACCES, "Permission denied"), "lake.root"
    )
    assert denied.mend == "give the user of the run write access or set lake.root"
    full = cannot_write(str(tmp_path), "cannot be written", full_disk(), "lake.root")
    assert full.mend.startswith("free space there")


@needs_full
def test_a_log_that_cannot_be_written_neither_stops_a_run_nor_says_anything(
    capsys: pytest.CaptureFixture[str],
) -> None:
    configure_logging(FULL)
    try:
        log_event("anything")
        logging.getLogger("isrf").error("again")
    finally:
        configure_logging()
    assert "Logging error" not in capsys.readouterr().err


def test_a_full_disk_outside_of_stages_ends_the_run_in_one_line(tmp_path: Path) -> None:
    with (
        pytest.raises(EnvironmentMismatchError, match=rf"{tmp_path}: cannot take what is written"),
        logged_to(tmp_path / "run.log"),
    ):
        raise full_disk()
    assert "command_failed" in (tmp_path / "run.log").read_text(encoding="utf-8")


def test_a_full_disk_before_the_run_has_a_log_is_one_line_and_its_code(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(arguments: object) -> int:
        raise full_disk()

    monkeypatch.setattr(
        machine, "add_commands", lambda commands: commands.add("doctor", "x").set_defaults(command=fail)
    )
    assert main(["doctor"]) == 2
    said = capsys.readouterr().err
    assert said.startswith("isrf: error: ") and "free space there" in said and said.count("\n") == 1


def test_a_full_disk_leaves_no_lock_without_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_room(descriptor: int) -> None:
        raise full_disk()

    with monkeypatch.context() as patch:
        patch.setattr(lock.os, "fsync", no_room)
        with (
            pytest.raises(EnvironmentMismatchError, match="free space there"),
            lock.hold_lake(tmp_path, "first", 300),
        ):
            pass
    assert lock.lock_holder(tmp_path) is None
    with lock.hold_lake(tmp_path, "second", 300):
        row = json.loads((tmp_path / lock.LOCK_NAME).read_text(encoding="utf-8"))
        assert row["run_id"] == "second"


@pytest.mark.parametrize(
    "said",
    [
        "Job aborted: ExecutorLostFailure (executor 1 exited caused by one of the running tasks) Reason: killed",
        "[CHECKPOINT_RDD_BLOCK_ID_NOT_FOUND] Checkpoint block rdd_12_0 not found!",
    ],
)
def test_a_lost_executor_is_one_line_that_says_to_start_again(said: str) -> None:
    known = known_error(RuntimeError(f"An error occurred\n{said}"))
    assert known is not None and known.exit_code == 1
    assert one_line(known).startswith("Spark: lost an executor and what the stage kept there")
    assert "start the run again" in known.mend
