"""Asks the model for what is missing, wave by wave: each wave's answers are one commit before the next begins."""

from __future__ import annotations

import collections
import contextlib
import itertools
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from isrf_pipeline.config.settings import BudgetSettings, ReasoningSettings
from isrf_pipeline.environment.gpus import gpu_profile
from isrf_pipeline.errors import ReasoningError
from isrf_pipeline.lake.scratch import scratch_folder
from isrf_pipeline.lake.tables import ANSWERS
from isrf_pipeline.logs import Progress, log_event
from isrf_pipeline.reasoning.asking import STARTED_SCHEMA, asking, starting
from isrf_pipeline.reasoning.backends import BackendFactory, backend_of_this_process, require_backend
from isrf_pipeline.reasoning.budget import Spent, allowance
from isrf_pipeline.reasoning.exposition import write_exposition
from isrf_pipeline.reasoning.fingerprint import ModelIdentity
from isrf_pipeline.reasoning.pending import PendingCalls, pending_calls
from isrf_pipeline.reasoning.steps import Subject
from isrf_pipeline.reasoning.tally import (
    Tally,
    expected_cost,
    require_few_dead,
    spent_by_run,
    tally_metrics,
    tally_of_run,
)
from isrf_pipeline.reasoning.tracing import trace
from isrf_pipeline.reasoning.workers import worker_role
from isrf_pipeline.stages.context import StageContext

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

#: Pool of the workers that hold an engine.
ENGINE_ROLE = "reasoning"


def reason_over(
    ctx: StageContext,
    subject: Subject,
    subjects: DataFrame,
    limit: int | None,
    backend: BackendFactory = backend_of_this_process,
    only_changed: bool = False,
) -> DataFrame:
    """Ask for what reasoning.answers lacks and return what is known of every subject.

    Parameters
    ----------
    ctx
        The stage; its counters take calls and tokens, reasoning.answers takes the answers.
    subject
        Which chain.
    subjects
        Columns subject, priority, input; see :func:`isrf_pipeline.reasoning.tracing.trace`.
    limit
        Only so many subjects, the first by priority and then by hash, are asked for; None is no limit. The others
        keep what is stored for them already.
    backend
        Gives a worker process its backend.
    only_changed
        Whether subjects whose own data is the same keep an answer of another model or of other prompts.

    Returns
    -------
    DataFrame
        Columns subject, answers, state, reason. The state is complete, dead, or missing (beyond ``limit`` or the
        budget).

    Raises
    ------
    QualityGateError
        If more than ``reasoning.max_failed_share`` of the subjects asked for now, or of all that have an answer,
        ended in a dead letter.
    ReasoningError
        If a backend failed; what earlier waves brought is stored.
    """
    settings = ctx.settings.reasoning
    require_backend(settings)
    ctx.lake.create(ANSWERS)
    model = ModelIdentity.of(settings.engine)

    def known() -> DataFrame:
        return trace(subjects, ctx.read(ANSWERS), subject, settings.mode, model, only_changed).persist()

    waves = _Waves(ctx, subject, backend)
    with scratch_folder(ctx.spark, "reasoning") as folder:
        for attempt in itertools.count():
            final = known()
            pending = pending_calls(final, limit, f"{folder}/{attempt}", waves.start)
            if pending is None:
                break
            # Its source has grown when the waves are over, and with that Spark's copy of it is gone.
            final.unpersist()
            before = waves.tally.answers
            if not waves.run(pending):
                final = known()
                break
            if waves.tally.answers == before:
                raise ReasoningError(
                    f"reasoning.backend {settings.backend}",
                    f"gave no answer for {pending.count} {subject}s and no error either",
                    "report this as a defect",
                )
            # Of subjects with one prompt only the first has asked; they may still differ in a later step.
    tally = waves.tally
    ctx.counters.llm_calls += tally.calls
    ctx.counters.llm_tokens += tally.tokens
    ctx.counters.rows_out += tally.answers
    if tally.calls:
        ctx.write_metrics(f"reason_{subject}s", tally_metrics(tally, waves.start_seconds))
    require_few_dead(tally, subject, settings.failed_share(subject), final)
    return final.select("subject", "answers", "state", "reason")


@dataclass(frozen=True)
class _Rhythm:
    """How waves follow each other, so that no model is idle while the last answers of a wave are written.

    Attributes
    ----------
    committed
        Subjects that one commit holds.
    ahead
        Subjects of the next commit that the engine may begin meanwhile.
    overlap
        Commits that are worked on at the same time.
    """

    committed: int
    ahead: int
    overlap: int


def _rhythm(settings: ReasoningSettings) -> _Rhythm:
    """Never more than a wave for each worker is under way without a commit."""
    wave = settings.wave * settings.workers
    if settings.backend == "server":
        return _Rhythm(max(wave // 2, 1), 0, 2)
    # Which process works on which part of the next wave is known only where there is one.
    ahead = settings.engine.max_num_seqs
    if settings.backend == "engine" and settings.workers == 1 and wave > ahead:
        return _Rhythm(wave - ahead, ahead, 1)
    return _Rhythm(wave, 0, 1)


class _Waves:
    """The waves of one stage over one kind of subject."""

    def __init__(self, ctx: StageContext, subject: Subject, backend: BackendFactory) -> None:
        self.tally = Tally()
        #: Seconds that the slowest backend took to start, or None before the first wave.
        self.start_seconds: float | None = None
        self._ctx = ctx
        self._subject: Subject = subject
        self._settings = ctx.settings.reasoning
        self._backend = backend
        self._profile = gpu_profile(ctx.spark, self._settings.worker_gpus(), "reasoning.engine.gpus")
        self._limited = self._settings.budget != BudgetSettings()
        self._before = spent_by_run(ctx) if self._limited else Spent()
        self._starting: Future[float] | None = None
        self._rhythm = _rhythm(self._settings)
        #: Seconds of waves before the present run of them, and when that began.
        self._measured = 0.0, 0.0

    def start(self) -> None:
        """Begin to make every worker's backend ready, so that waves are measured without it."""
        if self._starting is not None:
            return
        workers = self._settings.workers
        # The role belongs to the plan, which is made here; another thread only runs it.
        with worker_role(self._ctx.spark, ENGINE_ROLE):
            started = self._ctx.spark.range(0, workers, 1, workers).mapInArrow(
                starting(self._settings, self._backend), STARTED_SCHEMA, profile=self._profile
            )
        pool = ThreadPoolExecutor(1)
        self._starting = pool.submit(_slowest_start, started)
        pool.shutdown(wait=False)

    def run(self, pending: PendingCalls) -> bool:
        """Ask for all that is pending; False where the budget ended it."""
        settings, budget = self._settings, self._settings.budget
        log_event(
            "reasoning_started",
            subject=self._subject,
            missing=pending.count,
            model=ModelIdentity.of(settings.engine).name,
            mode=settings.mode,
            backend=settings.backend,
        )
        self.start()
        assert self._starting is not None
        with self._death_explained():
            self.start_seconds = self._starting.result()
        expected = expected_cost(self._ctx, self._subject) if self._limited else Spent(1)
        progress = Progress(f"reasoning over {self._subject}s", pending.count)
        self._measured = self.tally.seconds, time.monotonic()
        under_way: collections.deque[tuple[Future[None], int]] = collections.deque()
        begun = 0
        # The role is set once around all threads: it is a variable of the session.
        with worker_role(self._ctx.spark, ENGINE_ROLE), ThreadPoolExecutor(self._rhythm.overlap) as threads:

            def begin() -> str | None:
                """Hand over as many waves as are worked on at once; the budget's limit that forbids another."""
                nonlocal begun
                limit = None
                while begun < pending.count and len(under_way) < self._rhythm.overlap:
                    in_flight = sum(size for _, size in under_way)
                    wished = min(self._rhythm.committed + self._rhythm.ahead, pending.count - begun)
                    spent = self.tally.spent()
                    allowed = allowance(
                        wished + in_flight,
                        self._before + spent,
                        spent if spent.subjects else expected,
                        budget,
                    )
                    limit, room = allowed.limit, allowed.subjects - in_flight
                    if room <= 0:
                        break
                    size = min(room, self._rhythm.committed)
                    wave = pending.wave(begun, begun + size, room - size)
                    under_way.append((threads.submit(self._ask, wave), size))
                    begun += size
                return limit

            while begun < pending.count or under_way:
                limit = begin()
                if not under_way:
                    self._ctx.counters.stopped_by = limit
                    log_event(
                        "budget_reached", subject=self._subject, limit=limit, left=pending.count - begun
                    )
                    return False
                future, size = under_way.popleft()
                with self._death_explained():
                    future.result()
                if not self._limited:
                    # The model works on while the wave is counted; under a budget the count decides on the next.
                    begin()
                self._tell(progress, size, pending.count)
        return True

    def _ask(self, wave: DataFrame) -> None:
        rows = asking(self._subject, self._settings, self._ctx.run_id, self._backend)
        spread = wave.repartition(self._settings.workers)
        self._ctx.lake.append(ANSWERS, spread.mapInArrow(rows, ANSWERS.ddl(), profile=self._profile))

    def _tell(self, progress: Progress, size: int, total: int) -> None:
        """Count a wave that was committed, show how far the run has come, and stop it where too much is dead."""
        before, started = self._measured
        seconds = before + time.monotonic() - started
        self.tally = tally_of_run(self._ctx, self._subject, seconds)
        progress.advance(size, **self.tally.shown())
        if self._settings.prometheus_file is not None:
            write_exposition(
                Path(self._settings.prometheus_file), self._subject, self.tally, total - progress.done
            )
        require_few_dead(self.tally, self._subject, self._settings.failed_share(self._subject))

    @contextlib.contextmanager
    def _death_explained(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            if "Python worker exited unexpectedly" in str(error):
                raise ReasoningError(
                    f"model {self._settings.engine.model}",
                    "the worker process that holds its engine died, most often for want of memory",
                    "lower reasoning.engine.kv_cache_gib or max_num_seqs, then run the stage again, which asks only "
                    "for what is missing",
                ) from error
            raise


def _slowest_start(started: DataFrame) -> float:
    rows = started.collect()
    seconds = max(row["seconds"] for row in rows)
    log_event("backends_ready", pids=sorted({row["pid"] for row in rows}), seconds=round(seconds, 2))
    return float(seconds)
