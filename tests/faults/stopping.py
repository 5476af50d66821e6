"""Named places of a night at which a test disturbs it, and what is done there."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import resource
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from unittest import mock

from isrf_pipeline.lake import Lake, Table
from isrf_pipeline.publication import publishing
from isrf_pipeline.run import execution
from isrf_pipeline.stages import export, nightly
from isrf_pipeline.stages.context import Stage, StageContext
from isrf_pipeline.stages.registry import load_stage

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

#: Steps of stages that are no writes of tables, each a place before it: (where it is called, its name).
_STEPS: tuple[tuple[Any, str], ...] = (
    (publishing, "record_publication"),
    (export, "write_manifest"),
    (export, "point_to_current"),
)


@dataclass(frozen=True)
class Place:
    """A place in a night.

    Attributes
    ----------
    stage
        The stage.
    at
        ``writing``, ``before write`` or ``after write``, of ``table``; the name of a step, before it; ``done``, when
        all of the stage's work is done and its row of ops.runs is not written; ``recorded``, when it is, before the
        next stage begins.
    table
        See above.
    """

    stage: str
    at: str
    table: str = ""

    @classmethod
    def parse(cls, text: str) -> Place:
        """Place of ``stage/at/table``."""
        return cls(*text.split("/"))

    def __str__(self) -> str:
        return f"{self.stage}/{self.at}/{self.table}"


@contextlib.contextmanager
def stopped_at(
    place: Place | None,
    stop: Callable[[], None],
    while_writing: Callable[[DataFrame], DataFrame] | None = None,
) -> Iterator[None]:
    """Call ``stop`` once the body's night comes to ``place``.

    Parameters
    ----------
    place
        The place; None lets the night run through.
    stop
        Does not return in a killed process, or raises.
    while_writing
        For ``writing``: puts into the rows what stops the night as they are written.
    """
    watch = _Watch(place, stop, while_writing)
    with contextlib.ExitStack() as patches:
        for owner, name in _STEPS:
            step = functools.partial(watch.before_step, name, getattr(owner, name))
            patches.enter_context(mock.patch.object(owner, name, step))
        written = Lake._write
        patches.enter_context(
            mock.patch.object(
                Lake,
                "_write",
                lambda lake, *arguments: watch.write(functools.partial(written, lake), *arguments),
            )
        )
        patches.enter_context(mock.patch.object(execution, "load_stage", watch.watched))
        patches.enter_context(
            mock.patch.object(
                nightly, "append_record", functools.partial(watch.record, nightly.append_record)
            )
        )
        yield


class NoRoom:
    """Lets the JVM of a session write no more than some bytes to any file, as on a disk that is full.

    The operating system refuses the write as it refuses one to a full disk, and Java hears of it in the same way.
    """

    _BYTES = 256

    def __init__(self, spark: SparkSession) -> None:
        assert spark._jvm is not None
        self._jvm: int = spark._jvm.java.lang.ProcessHandle.current().pid()
        self._before = resource.prlimit(self._jvm, resource.RLIMIT_FSIZE)

    def begin(self) -> None:
        """From now on there is no room."""
        resource.prlimit(self._jvm, resource.RLIMIT_FSIZE, (self._BYTES, self._before[1]))

    def end(self) -> None:
        """There is room again."""
        resource.prlimit(self._jvm, resource.RLIMIT_FSIZE, self._before)


class _Watch:
    """Where a night is, and whether that is the place."""

    def __init__(
        self,
        place: Place | None,
        stop: Callable[[], None],
        while_writing: Callable[[DataFrame], DataFrame] | None,
    ) -> None:
        self._place, self._stop, self._while_writing = place, stop, while_writing
        self._stage = ""
        # Some tables are written side by side: one at a time here, so that all the others are either not begun or done.
        self._one_at_a_time = threading.RLock()

    def watched(self, name: str) -> Stage:
        stage = load_stage(name)

        def run(ctx: StageContext) -> None:
            self._stage = name
            stage.run(ctx)
            self._come_to("done")
            self._stage = ""

        return dataclasses.replace(stage, run=run)

    def write(self, written: Callable[..., int], table: Table, rows: DataFrame, *rest: Any) -> int:
        if not self._stage:
            return written(table, rows, *rest)
        with self._one_at_a_time:
            self._come_to("before write", table.name)
            if self._while_writing is not None and self._place == Place(self._stage, "writing", table.name):
                rows = self._while_writing(rows)
            count = written(table, rows, *rest)
            self._come_to("after write", table.name)
            return count

    def before_step(self, name: str, step: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
        self._come_to(name)
        return step(*arguments, **named)

    def record(self, append: Callable[..., None], lake: Lake, run: Any, record: Any) -> None:
        append(lake, run, record)
        if record.status == "done":
            self._stage = record.stage
            self._come_to("recorded")
            self._stage = ""

    def _come_to(self, at: str, table: str = "") -> None:
        if self._place == Place(self._stage, at, table):
            self._stop()
