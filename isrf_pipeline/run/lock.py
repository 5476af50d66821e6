"""The hold of one run on one local lake: a lock file that names its holder, who touches it while he lives.

A folder may be shared by several machines. Ages are differences of the file system's own times, so that no machine's
clock matters, and where they say that a holder is silent it is watched: that clock may be set as well. For lakes in an
object store see :mod:`isrf_pipeline.run.lease`.
"""

from __future__ import annotations

import contextlib
import datetime
import fcntl
import json
import os
import socket
import threading
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from isrf_pipeline.environment.space import cannot_write
from isrf_pipeline.errors import LakeLockedError
from isrf_pipeline.logs import log_event
from isrf_pipeline.run.silence import is_silent

LOCK_NAME = ".isrf_lock"
#: Touches of the file in the time after which a silent holder is replaced.
_BEATS = 5


@dataclass(frozen=True)
class LockHolder:
    """Who holds a lake.

    Attributes
    ----------
    run_id
        Its run.
    host, pid
        Its process.
    process_started
        Kernel's start time of that process in clock ticks, so that a reused process id is no holder; 0 if
        unknown.
    started
        When it took the lock (UTC, ISO 8601).
    """

    run_id: str
    host: str
    pid: int
    process_started: int
    started: str

    def __str__(self) -> str:
        return f"run {self.run_id} (process {self.pid} on {self.host}, since {self.started})"

    def is_dead(self) -> bool:
        """Whether the holder ran on this host and is gone."""
        if self.host != socket.gethostname():
            return False
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return True
        except PermissionError:
            pass
        return self.process_started != 0 and _process_started(self.pid) != self.process_started


def local_root(root: str) -> Path | None:
    """Folder of a lake on this machine's file system; None where the root is an object store's."""
    if root.startswith("file:"):
        return Path("/" + root.removeprefix("file:").lstrip("/"))
    return None if "://" in root else Path(root)


def lock_holder(root: Path) -> LockHolder | None:
    """Who holds the lake below ``root``; None where nobody does."""
    try:
        return LockHolder(**json.loads((root / LOCK_NAME).read_text(encoding="utf-8")))
    except FileNotFoundError:
        return None
    except (ValueError, TypeError):
        return LockHolder("unknown", "unknown", 0, 0, "an unknown time")


@contextlib.contextmanager
def hold_lake(root: Path, run_id: str, seconds: float) -> Iterator[LockHolder | None]:
    """Hold the lake below ``root`` while the body runs; yields the dead holder that was replaced, if any.

    Parameters
    ----------
    root
        Folder of the lake.
    run_id
        The run that wants it.
    seconds
        A holder on another host who has not touched the lock for so long, and then not under watch, is dead. One on
        this host is dead when its process is gone, and as long as the process is there it lives.

    Raises
    ------
    LakeLockedError
        If a living run holds it, or if another took it while the body ran.
    EnvironmentMismatchError
        If the folder cannot be written.
    """
    lock = root / LOCK_NAME
    try:
        root.mkdir(parents=True, exist_ok=True)
        with _alone_in(root):
            before = lock_holder(root)
            if before is not None and not before.is_dead() and not _is_silent(root, before, run_id, seconds):
                raise LakeLockedError(
                    str(root),
                    f"{before} holds the lake",
                    f"wait for it to end; a dead run is replaced after {seconds:g} s of silence (lake.lease_seconds)",
                )
            # Its holder may have let go while it was watched.
            lock.unlink(missing_ok=True)
            _create(lock, run_id)
    except OSError as error:
        raise cannot_write(str(root), "the lake cannot be written", error, "lake.root") from None
    beat = _Beat(root, run_id, seconds)
    beat.start()
    try:
        yield before
    except Exception as error:
        if beat.lost:
            raise _lost(root) from error
        raise
    finally:
        beat.end()
        if _is_held_by(root, run_id):
            lock.unlink(missing_ok=True)
    if beat.lost:
        raise _lost(root)


class _Beat(threading.Thread):
    """Touches the lock until it is ended; where another run took the lake, cancels what this one does in Spark."""

    def __init__(self, root: Path, run_id: str, seconds: float) -> None:
        super().__init__(name="isrf-lock", daemon=True)
        self.lost = False
        self._root, self._run_id, self._pause = root, run_id, seconds / _BEATS
        self._ended = threading.Event()

    def run(self) -> None:
        while not self._ended.wait(self._pause):
            # A file system that does not answer for a moment says nothing about who holds the lake.
            with contextlib.suppress(OSError):
                self.lost = not _is_held_by(self._root, self._run_id)
                if not self.lost:
                    os.utime(self._root / LOCK_NAME)
            if self.lost:
                log_event("lock_lost", run_id=self._run_id)
                while not self._ended.wait(1):
                    _cancel_spark()

    def end(self) -> None:
        """Stop; a touch that is under way is waited for."""
        self._ended.set()
        self.join()


def _is_held_by(root: Path, run_id: str) -> bool:
    holder = lock_holder(root)
    return holder is not None and holder.run_id == run_id


def _is_silent(root: Path, holder: LockHolder, run_id: str, seconds: float) -> bool:
    """Whether a holder whose process cannot be seen from here has stopped to touch the lock."""
    if holder.host == socket.gethostname():
        return False
    probe = root / f"{LOCK_NAME}.{run_id}"
    probe.touch()
    try:
        silence = probe.stat().st_mtime - (root / LOCK_NAME).stat().st_mtime
    except FileNotFoundError:
        return True
    finally:
        probe.unlink()
    return is_silent(lambda: _last_touch(root), silence, seconds, seconds / _BEATS)


def _last_touch(root: Path) -> float | None:
    try:
        return (root / LOCK_NAME).stat().st_mtime
    except FileNotFoundError:
        return None


def _cancel_spark() -> None:
    from pyspark import SparkContext

    context = SparkContext._active_spark_context
    if context is not None:
        context.cancelAllJobs()


def _lost(root: Path) -> LakeLockedError:
    holder = lock_holder(root) or "another run"
    return LakeLockedError(
        str(root),
        f"this run was silent for too long (lake.lease_seconds) and {holder} took the lake",
        "run it again when that one has ended",
    )


def _create(lock: Path, run_id: str) -> None:
    started = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    mine = LockHolder(run_id, socket.gethostname(), os.getpid(), _process_started(os.getpid()), started)
    try:
        with lock.open("x", encoding="utf-8") as file:
            json.dump(asdict(mine), file)
            file.flush()
            os.fsync(file.fileno())
    except FileExistsError:
        raise
    except OSError:
        # A lock without a name, as a full disk leaves it, would hold the lake for as long as a run on another host.
        lock.unlink(missing_ok=True)
        raise


@contextlib.contextmanager
def _alone_in(root: Path) -> Iterator[None]:
    """Keep two starting runs from judging the same dead lock at once."""
    folder = os.open(root, os.O_RDONLY)
    try:
        # Some network file systems know no such locks; exclusive creation still guards the common case.
        with contextlib.suppress(OSError):
            fcntl.flock(folder, fcntl.LOCK_EX)
        yield
    finally:
        os.close(folder)


def _process_started(pid: int) -> int:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
    except OSError:
        return 0
    # The name in parentheses may hold spaces; the start time is the 20th field after it.
    return int(stat.rpartition(")")[2].split()[19])
