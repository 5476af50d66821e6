"""The hold of one run on one local lake: a lock file that names its holder.

For lakes in an object store see :mod:`isrf_pipeline.run.lease`.
"""

from __future__ import annotations

import contextlib
import datetime
import fcntl
import json
import os
import socket
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from isrf_pipeline.errors import EnvironmentMismatchError, LakeLockedError

LOCK_NAME = ".isrf_lock"


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
def hold_lake(root: Path, run_id: str) -> Iterator[LockHolder | None]:
    """Hold the lake below ``root`` while the body runs; yields the dead holder that was replaced, if any.

    Raises
    ------
    LakeLockedError
        If a living run, or one on another host, holds it.
    EnvironmentMismatchError
        If the folder cannot be written.
    """
    lock = root / LOCK_NAME
    try:
        root.mkdir(parents=True, exist_ok=True)
        with _alone_in(root):
            before = lock_holder(root)
            if before is not None and not before.is_dead():
                raise LakeLockedError(
                    str(root),
                    f"{before} holds the lake",
                    f"wait for it to end, or delete {lock} if that run is dead",
                )
            if before is not None:
                lock.unlink()
            _create(lock, run_id)
    except OSError as error:
        raise EnvironmentMismatchError(
            str(root),
            f"the lake cannot be written ({error.strerror or type(error).__name__})",
            "give the user of the run write access or set lake.root",
        ) from None
    try:
        yield before
    finally:
        holder = lock_holder(root)
        if holder is not None and holder.run_id == run_id:
            lock.unlink(missing_ok=True)


def _create(lock: Path, run_id: str) -> None:
    started = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    mine = LockHolder(run_id, socket.gethostname(), os.getpid(), _process_started(os.getpid()), started)
    with lock.open("x", encoding="utf-8") as file:
        json.dump(asdict(mine), file)
        file.flush()
        os.fsync(file.fileno())


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
