"""Asks the model for what is missing, wave by wave: each wave's answers are one commit before the next begins."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from isrf_pipeline.config.settings import EngineSettings
from isrf_pipeline.errors import QualityGateError, ReasoningError
from isrf_pipeline.lake.tables import ANSWERS
from isrf_pipeline.logs import Progress, log_event
from isrf_pipeline.reasoning.chain import Chain, Generator, ask
from isrf_pipeline.reasoning.engine import engine_of_this_process
from isrf_pipeline.reasoning.fingerprint import ModelIdentity
from isrf_pipeline.reasoning.prompts import PROMPT_VERSION
from isrf_pipeline.reasoning.steps import Mode, Subject, chain_of
from isrf_pipeline.reasoning.tracing import trace
from isrf_pipeline.reasoning.workers import worker_role
from isrf_pipeline.stages.context import StageContext

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import Column, DataFrame, Row

#: Pool of the workers that hold an engine.
ENGINE_ROLE = "reasoning"

EngineFactory = Callable[[EngineSettings], Generator]


@dataclass(frozen=True)
class Asked:
    """What a run asked of one kind of subject."""

    calls: int
    tokens: int
    subjects: int
    dead: int


def reason_over(
    ctx: StageContext,
    subject: Subject,
    subjects: DataFrame,
    limit: int | None,
    engine: EngineFactory = engine_of_this_process,
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
    engine
        Gives a worker process its engine.

    Returns
    -------
    DataFrame
        Columns subject, answers, state, reason. The state is complete, dead, or missing (beyond ``limit``).

    Raises
    ------
    QualityGateError
        If more than ``reasoning.max_failed_share`` of the subjects asked for now, or of all that have an answer,
        ended in a dead letter.
    ReasoningError
        If an engine failed; what earlier waves brought is stored.
    """
    settings = ctx.settings.reasoning
    model = ModelIdentity.of(settings.engine)
    ctx.lake.create(ANSWERS)
    traced = trace(subjects, ctx.read(ANSWERS), subject, settings.mode, model)
    pending = _pending(traced, limit).persist()
    try:
        _ask_in_waves(ctx, subject, pending, model, engine)
    finally:
        pending.unpersist()
    asked = _asked(ctx.lake.read(ANSWERS), subject, ctx.run_id)
    ctx.counters.llm_calls += asked.calls
    ctx.counters.llm_tokens += asked.tokens
    final = trace(subjects, ctx.lake.read(ANSWERS), subject, settings.mode, model)
    _require_few_dead(asked, final, subject, settings.max_failed_share)
    return final.select("subject", "answers", "state", "reason")


def _pending(traced: DataFrame, limit: int | None) -> DataFrame:
    """Distinct inputs to ask for: key (their place in the order), subject, input, answers."""
    from pyspark.sql import functions as F

    keyed = traced.withColumn("key", F.struct("priority", F.xxhash64("subject").alias("hash"), "subject"))
    within = keyed if limit is None else keyed.orderBy("key").limit(limit)
    # Subjects with the same data have the same fingerprints: the first of them asks for all.
    return (
        within.where(F.col("state") == "missing")
        .groupBy("input")
        .agg(F.min("key").alias("key"), F.min_by("answers", "key").alias("answers"))
        .select("key", F.col("key.subject").alias("subject"), "input", "answers")
    )


def _ask_in_waves(
    ctx: StageContext, subject: Subject, pending: DataFrame, model: ModelIdentity, engine: EngineFactory
) -> None:
    from pyspark.sql import functions as F

    settings = ctx.settings.reasoning
    total = pending.count()
    if total == 0:
        return
    log_event("reasoning_started", subject=subject, missing=total, model=model.name, mode=settings.mode)
    progress = Progress(f"reasoning over {subject}s", total)
    last: Row | None = None
    while True:
        rest = pending if last is None else pending.where(F.col("key") > _literal(last))
        wave = rest.orderBy("key").limit(settings.engine.wave)
        size, last = wave.agg(F.count("*"), F.max("key")).first() or (0, None)
        if size == 0:
            return
        with worker_role(ctx.spark, ENGINE_ROLE):
            answered = (
                wave.select("subject", "input", "answers")
                .repartition(settings.engine.workers)
                .mapInArrow(
                    _asking(subject, settings.mode, settings.engine, model, ctx.run_id, engine), ANSWERS.ddl()
                )
            )
        _append(ctx, answered)
        progress.advance(size)


def _append(ctx: StageContext, answered: DataFrame) -> None:
    try:
        ctx.append(ANSWERS, answered)
    except Exception as error:
        if "Python worker exited unexpectedly" in str(error):
            raise ReasoningError(
                f"model {ctx.settings.reasoning.engine.model}",
                "the worker process that holds its engine died, most often for want of memory",
                "lower reasoning.engine.kv_cache_gib or max_num_seqs, then run the stage again, which asks only for "
                "what is missing",
            ) from error
        raise


def _literal(key: Row) -> Column:
    from pyspark.sql import functions as F

    return F.struct(
        F.lit(key["priority"]).cast("bigint"), F.lit(key["hash"]).cast("bigint"), F.lit(key["subject"])
    )


def _asking(
    subject: Subject,
    mode: Mode,
    settings: EngineSettings,
    model: ModelIdentity,
    run_id: str,
    engine: EngineFactory,
) -> Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    """Answer one partition of a wave; the rows are those of reasoning.answers."""

    def answer(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        import pyarrow as pa

        # The whole partition at once: the engine schedules its own batches, and a wave bounds it.
        chains = [
            Chain(row["subject"], row["input"], row["answers"])
            for batch in batches
            for row in batch.to_pylist()
        ]
        if not chains:
            return
        rows = ask(chains, chain_of(subject, mode), model, engine(settings))
        now = datetime.datetime.now(datetime.UTC)
        yield pa.RecordBatch.from_pylist(
            [
                {
                    "fingerprint": row.fingerprint,
                    "kind": row.kind,
                    "subject": row.subject,
                    "model": model.name,
                    "prompt_version": PROMPT_VERSION,
                    "answer": row.answer,
                    "status": row.status,
                    "reason": row.reason,
                    "raw": row.raw,
                    "tokens_in": row.tokens_in,
                    "tokens_out": row.tokens_out,
                    "finished_at": now,
                    "run_id": run_id,
                }
                for row in rows
            ],
            schema=_answer_schema(),
        )

    return answer


def _answer_schema() -> pa.Schema:
    import pyarrow as pa

    types = {"string": pa.string(), "int": pa.int32(), "timestamp": pa.timestamp("us", tz="UTC")}
    return pa.schema([pa.field(c.name, types[c.type], c.nullable) for c in ANSWERS.columns])


def _asked(answers: DataFrame, subject: Subject, run_id: str) -> Asked:
    from pyspark.sql import functions as F

    row = (
        answers.where((F.col("run_id") == run_id) & F.startswith("kind", F.lit(f"{subject}.")))
        .agg(
            F.count("*").alias("calls"),
            F.coalesce(F.sum(F.col("tokens_in") + F.col("tokens_out")), F.lit(0)).alias("tokens"),
            F.count_distinct("subject").alias("subjects"),
            F.count_if(F.col("status") == "dead").alias("dead"),
        )
        .first()
    )
    assert row is not None
    return Asked(row["calls"], row["tokens"], row["subjects"], row["dead"])


def _require_few_dead(asked: Asked, final: DataFrame, subject: Subject, limit: float) -> None:
    """Stop before features are written; a second run must not slip through because nothing is asked again."""
    from pyspark.sql import functions as F

    row = final.agg(
        F.count_if(F.col("state") == "dead").alias("dead"),
        F.count_if(F.col("state") != "missing").alias("all"),
    ).first()
    assert row is not None
    for dead, of, when in ((asked.dead, asked.subjects, "of this run"), (row["dead"], row["all"], "in all")):
        if of and dead / of > limit:
            raise QualityGateError(
                f"reasoning over {subject}s",
                f"{dead} of {of} {subject}s {when} are dead letters ({dead / of:.0%}, the limit is {limit:.0%})",
                "read their reasons in reasoning.answers, then mend the model or the prompts, or raise "
                "reasoning.max_failed_share",
            )
