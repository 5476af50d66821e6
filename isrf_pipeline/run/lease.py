"""The hold of one run on a lake in an object store, where a lock file of one machine says nothing to another.

One row of ops.lease names the holder. Delta lets one of two writers of a row win and refuses the other, so the row is a
lock wherever the tables can be. While it lives the holder touches a file of its own, which needs no task of Spark: the
slots of a cluster may be taken for longer than a holder may be silent. Ages are differences of the store's own times,
so that no machine's clock matters, and where they say that a holder is silent it is watched first: see
:mod:`isrf_pipeline.run.silence`. Whoever replaces a silent holder leaves a mark beside its file; a holder that was
only suspended finds the mark and stops.
"""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from isrf_pipeline.errors import LakeLockedError
from isrf_pipeline.lake import Lake, tables
from isrf_pipeline.logs import log_event
from isrf_pipeline.run.silence import is_silent

#: Touches of the file in the time after which a silent holder is replaced.
_BEATS = 5
#: Two runs may collide this often before the one that loses gives up.
_TRIES = 5
_FOLDER = "_isrf_lease"


@dataclass(frozen=True)
class LeaseHolder:
    """Who holds a lake.

    Attributes
    ----------
    run_id
        Its run.
    host, pid
        Its driver.
    """

    run_id: str
    host: str
    pid: int

    def __str__(self) -> str:
        return f"run {self.run_id} (process {self.pid} on {self.host})"


def lease_holder(lake: Lake) -> LeaseHolder | None:
    """Who holds ``lake``, alive or not; None where nobody does."""
    if not lake.exists(tables.LEASE):
        return None
    row = lake.read(tables.LEASE).where("run_id IS NOT NULL").first()
    return None if row is None else LeaseHolder(row["run_id"], row["host"], row["pid"])


@contextlib.contextmanager
def hold_lease(lake: Lake, run_id: str, seconds: float) -> Iterator[LeaseHolder | None]:
    """Hold ``lake`` while the body runs; yields the silent holder that was replaced, if any.

    Parameters
    ----------
    lake
        The lake.
    run_id
        The run that wants it.
    seconds
        A holder that has not touched its file for so long, and then not under watch, is dead.

    Raises
    ------
    LakeLockedError
        If a living run holds it, or if another took it while the body ran.
    """
    signs = _LifeSigns(lake)
    # Before the claim: whoever sees the row must see a life sign too.
    signs.touch(run_id)
    try:
        replaced = _take(lake, signs, run_id, seconds)
    except BaseException:
        signs.remove(run_id)
        raise
    beat = _Beat(lake, signs, run_id, seconds)
    beat.start()
    try:
        yield replaced
    except Exception as error:
        if beat.lost:
            raise _lost(lake) from error
        raise
    finally:
        beat.end()
        if not beat.lost:
            lake.spark.sql(f"UPDATE {lake.address(tables.LEASE)} SET run_id = NULL WHERE run_id = '{run_id}'")
        signs.remove(run_id)
    if beat.lost:
        raise _lost(lake)


def _take(lake: Lake, signs: _LifeSigns, run_id: str, seconds: float) -> LeaseHolder | None:
    for _ in range(_TRIES):
        holder = lease_holder(lake)
        if holder is not None and not signs.is_silent(holder.run_id, run_id, seconds):
            raise LakeLockedError(
                lake.root,
                f"{holder} holds the lake",
                f"wait for it to end; a dead run is replaced after {seconds:g} s of silence (lake.lease_seconds)",
            )
        try:
            lake.create(tables.LEASE)
            _claim(lake, run_id, holder)
        except Exception as error:
            if not _is_collision(error):
                raise
            continue
        now = lease_holder(lake)
        if now is not None and now.run_id == run_id:
            if holder is not None:
                signs.mark_replaced(holder.run_id)
            return holder
    raise LakeLockedError(
        lake.root, "several runs ask for the lake at once", "start one run at a time and try again"
    )


def _claim(lake: Lake, run_id: str, silent: LeaseHolder | None) -> None:
    """Write the row where the lease is free, or still held by ``silent``."""
    free = "l.run_id IS NULL" + ("" if silent is None else f" OR l.run_id = '{silent.run_id}'")
    host = socket.gethostname().replace("'", "")
    lake.spark.sql(
        f"MERGE INTO {lake.address(tables.LEASE)} l "
        f"USING (SELECT 'lake' AS name, '{run_id}' AS run_id, '{host}' AS host, {os.getpid()} AS pid) n "
        f"ON l.name = n.name WHEN MATCHED AND ({free}) THEN UPDATE SET * WHEN NOT MATCHED THEN INSERT *"
    )


def _is_collision(error: Exception) -> bool:
    """Whether Delta refused a write, or the creation of the table, because another came first."""
    changed = ("Concurrent", "DeltaConcurrent", "MetadataChanged", "ProtocolChanged")
    return type(error).__name__.startswith(changed) or "ALREADY_EXISTS" in str(error)


class _LifeSigns:
    """One empty file for each run that holds or wants a lake, and marks of those that were replaced."""

    def __init__(self, lake: Lake) -> None:
        jvm: Any = lake.spark.sparkContext._jvm
        self._path = jvm.org.apache.hadoop.fs.Path
        self._folder = f"{lake.root}/{_FOLDER}"
        self._files = self._path(self._folder).getFileSystem(
            lake.spark.sparkContext._jsc.hadoopConfiguration()
        )

    def touch(self, run_id: str) -> None:
        """Show that the run lives now."""
        self._files.create(self._file(run_id), True).close()

    def remove(self, run_id: str) -> None:
        """Leave nothing of a run that has ended."""
        for file in (self._file(run_id), self._mark(run_id)):
            self._files.delete(file, False)

    def is_silent(self, run_id: str, observer: str, seconds: float) -> bool:
        """Whether a run has shown no sign of life for ``seconds``, as ``observer`` finds who wants its lake."""
        self.touch(observer)
        theirs, ours = self._last(run_id), self._last(observer)
        if theirs is None or ours is None:
            return theirs is None
        return is_silent(lambda: self._last(run_id), ours - theirs, seconds, seconds / _BEATS)

    def _last(self, run_id: str) -> float | None:
        """Time of a run's last sign in seconds, by the store's clock."""
        if not self._files.exists(self._file(run_id)):
            return None
        return float(self._files.getFileStatus(self._file(run_id)).getModificationTime()) / 1000

    def mark_replaced(self, run_id: str) -> None:
        """Tell a run, should it wake up, that another has its lake."""
        self._files.create(self._mark(run_id), True).close()

    def is_replaced(self, run_id: str) -> bool:
        """Whether another run has taken this one's lake."""
        return bool(self._files.exists(self._mark(run_id)))

    def _file(self, run_id: str) -> Any:
        return self._path(f"{self._folder}/{run_id}")

    def _mark(self, run_id: str) -> Any:
        return self._path(f"{self._folder}/{run_id}.replaced")


class _Beat(threading.Thread):
    """Shows that a run lives until it is ended; where another took its lake, cancels what it does in Spark."""

    def __init__(self, lake: Lake, signs: _LifeSigns, run_id: str, seconds: float) -> None:
        super().__init__(name="isrf-lease", daemon=True)
        self.lost = False
        self._lake, self._signs, self._run_id, self._seconds = lake, signs, run_id, seconds
        self._ended = threading.Event()
        self._last = time.monotonic()

    def run(self) -> None:
        while not self._ended.wait(self._seconds / _BEATS):
            self.lost = not self._beat()
            if self.lost:
                log_event("lease_lost", run_id=self._run_id)
                while not self._ended.wait(1):
                    self._lake.spark.sparkContext.cancelAllJobs()

    def end(self) -> None:
        """Stop; a touch that is under way is waited for."""
        self._ended.set()
        self.join()

    def _beat(self) -> bool:
        try:
            if self._signs.is_replaced(self._run_id):
                return False
            self._signs.touch(self._run_id)
        except Exception as error:
            # A store that does not answer for a moment costs nothing; after that time another may hold the lake.
            log_event("lease_not_renewed", error=type(error).__name__)
            return time.monotonic() - self._last < self._seconds
        self._last = time.monotonic()
        return True


def _lost(lake: Lake) -> LakeLockedError:
    holder = lease_holder(lake) or "another run"
    return LakeLockedError(
        lake.root,
        f"this run was silent for too long (lake.lease_seconds) and {holder} took the lake",
        "run it again when that one has ended",
    )
