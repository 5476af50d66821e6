"""Counts what a run asked, got and spent, out of the answers that it stored."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from isrf_pipeline.config.settings import ReasoningSettings
from isrf_pipeline.errors import QualityGateError
from isrf_pipeline.lake.tables import ANSWERS, METRICS, RUNS
from isrf_pipeline.reasoning.budget import Spent
from isrf_pipeline.reasoning.fingerprint import ModelIdentity
from isrf_pipeline.reasoning.steps import Subject, chain_of
from isrf_pipeline.stages.context import StageContext

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

#: A run that is to stop early needs more than a handful of subjects to be judged by.
_JUDGED_AFTER = 50
#: Tokens of a prompt, for the budget of a run that has no earlier one to learn from.
_GUESSED_TOKENS_IN = 500


@dataclass(frozen=True)
class StepTally:
    """Calls and answers of one step."""

    calls: int
    tokens_in: int
    tokens_out: int
    tokens_cached: int
    ok: int
    dead: int
    repaired: int


@dataclass(frozen=True)
class Tally:
    """What one run asked of one kind of subject.

    Attributes
    ----------
    steps
        By kind of step, such as item.forward.
    subjects
        Subjects whose chain has come to its end.
    seconds
        Wall time of the waves, without the start of the backends.
    """

    steps: dict[str, StepTally] = field(default_factory=dict)
    subjects: int = 0
    seconds: float = 0.0

    def total(self, what: str) -> int:
        """Sum of one of the counts over all steps."""
        return sum(getattr(step, what) for step in self.steps.values())

    @property
    def calls(self) -> int:
        """Calls of the model, second attempts included."""
        return self.total("calls")

    @property
    def tokens(self) -> int:
        """Prompt and output tokens."""
        return self.total("tokens_in") + self.total("tokens_out")

    @property
    def dead(self) -> int:
        """Subjects whose chain ended in a dead letter: a chain has at most one."""
        return self.total("dead")

    @property
    def answers(self) -> int:
        """Rows that were stored, dead letters included."""
        return self.total("ok") + self.dead

    @property
    def valid_share(self) -> float:
        """Share of the answers that are no dead letters; 1 where there are none."""
        return self.total("ok") / self.answers if self.answers else 1.0

    @property
    def tokens_out_per_second(self) -> float:
        """Output tokens a second over all workers."""
        return self.total("tokens_out") / self.seconds if self.seconds else 0.0

    @property
    def prefix_hit_rate(self) -> float:
        """Share of the prompt tokens that the engine found in its prefix cache."""
        read = self.total("tokens_in")
        return self.total("tokens_cached") / read if read else 0.0

    def spent(self) -> Spent:
        """What counts against the budget."""
        return Spent(self.subjects, self.calls, self.tokens, self.seconds)

    def shown(self) -> dict[str, Any]:
        """Fields of a line of progress."""
        return {
            "tokens_per_s": round(self.tokens_out_per_second, 1),
            "valid": f"{self.valid_share:.1%}",
            "prefix_hits": f"{self.prefix_hit_rate:.0%}",
        }


def tally_of_run(ctx: StageContext, subject: Subject, seconds: float) -> Tally:
    """What this run has stored on ``subject``; the wall time, which answers do not tell, is given."""
    from pyspark.sql import functions as F

    rows = (
        ctx.lake.read(ANSWERS)
        .where((F.col("run_id") == ctx.run_id) & F.startswith("kind", F.lit(f"{subject}.")))
        .groupBy("kind")
        .agg(
            F.sum(F.coalesce("calls", F.lit(1))).alias("calls"),
            F.sum("tokens_in").alias("tokens_in"),
            F.sum("tokens_out").alias("tokens_out"),
            F.sum(F.coalesce("tokens_cached", F.lit(0))).alias("tokens_cached"),
            F.count_if(F.col("status") == "ok").alias("ok"),
            F.count_if(F.col("status") == "dead").alias("dead"),
            F.count_if((F.col("status") == "ok") & (F.col("calls") > 1)).alias("repaired"),
        )
        .collect()
    )
    steps = {row["kind"]: StepTally(*(int(value) for value in row[1:])) for row in rows}
    # Counted from the same rows as the dead letters: a wave that was committed meanwhile counts in both.
    last = steps.get(chain_of(subject, ctx.settings.reasoning.mode)[-1].kind)
    ended = sum(step.dead for step in steps.values()) + (last.ok if last is not None else 0)
    return Tally(steps, ended, seconds)


def spent_by_run(ctx: StageContext) -> Spent:
    """What earlier stages of this run have spent."""
    from pyspark.sql import functions as F

    answers = (
        ctx.lake.read(ANSWERS)
        .where(F.col("run_id") == ctx.run_id)
        .agg(
            F.coalesce(F.sum(F.coalesce("calls", F.lit(1))), F.lit(0)),
            F.coalesce(F.sum(F.col("tokens_in") + F.col("tokens_out")), F.lit(0)),
        )
        .first()
    )
    seconds = 0.0
    if ctx.lake.exists(RUNS):
        stages = ctx.lake.read(RUNS).where((F.col("run_id") == ctx.run_id) & (F.col("llm_calls") > 0))
        row = stages.agg(F.coalesce(F.sum("seconds"), F.lit(0.0))).first()
        seconds = float(row[0]) if row is not None else 0.0
    assert answers is not None
    return Spent(0, int(answers[0]), int(answers[1]), seconds)


@dataclass(frozen=True)
class PastCost:
    """What one answer of a step took on average, second attempts included.

    Attributes
    ----------
    calls, tokens_in, tokens_out
        Of all its attempts.
    valid
        Share of answers that were no dead letters, and so led to the next step.
    """

    calls: float
    tokens_in: float
    tokens_out: float
    valid: float = 1.0


def past_costs(answers: DataFrame, settings: ReasoningSettings) -> dict[str, PastCost]:
    """Costs of the answers of the configured model, by kind of step; a step that was never asked is not in it."""
    from pyspark.sql import functions as F

    rows = (
        answers.where(F.col("model") == ModelIdentity.of(settings.engine).name)
        .groupBy("kind")
        .agg(
            F.avg(F.coalesce("calls", F.lit(1)).cast("double")),
            F.avg("tokens_in"),
            F.avg("tokens_out"),
            F.avg((F.col("status") == "ok").cast("int")),
        )
        .collect()
    )
    return {kind: PastCost(*costs) for kind, *costs in rows}


def expected_cost(ctx: StageContext, subject: Subject) -> Spent:
    """What a hundred subjects cost: by earlier answers of the same model, else by the longest answers allowed."""
    settings = ctx.settings.reasoning
    known = past_costs(ctx.lake.read(ANSWERS), settings)
    costs = [
        known.get(step.kind, PastCost(1.0, _GUESSED_TOKENS_IN, step.max_tokens))
        for step in chain_of(subject, settings.mode)
    ]
    rate = last_metric(ctx, f"reason_{subject}s.subjects_per_second")
    return Spent(
        100,
        round(100 * sum(cost.calls for cost in costs)),
        round(100 * sum(cost.tokens_in + cost.tokens_out for cost in costs)),
        100 / rate if rate else 0.0,
    )


def last_metric(ctx: StageContext, name: str) -> float | None:
    """Newest value of a metric of any night, or None."""
    from pyspark.sql import functions as F

    if not ctx.lake.exists(METRICS):
        return None
    row = (
        ctx.lake.read(METRICS)
        .where((F.col("metric") == name) & (F.col("slice") == "all"))
        .orderBy(F.desc("run_date"))
        .first()
    )
    return float(row["value"]) if row is not None else None


def tally_metrics(tally: Tally, start_seconds: float | None) -> dict[tuple[str, str], float]:
    """Values for ops.metrics: (metric, slice) to value; the slice is a step, or all."""
    values: dict[tuple[str, str], float] = {
        ("subjects", "all"): tally.subjects,
        ("calls", "all"): tally.calls,
        ("tokens_in", "all"): tally.total("tokens_in"),
        ("tokens_out", "all"): tally.total("tokens_out"),
        ("wave_seconds", "all"): tally.seconds,
        ("valid_share", "all"): tally.valid_share,
        ("prefix_hit_rate", "all"): tally.prefix_hit_rate,
        ("start_seconds", "all"): start_seconds or 0.0,
    }
    if tally.seconds:
        values["tokens_out_per_second", "all"] = tally.tokens_out_per_second
        values["subjects_per_second", "all"] = tally.subjects / tally.seconds
    for kind, step in tally.steps.items():
        answers = step.ok + step.dead
        values["calls", kind] = step.calls
        values["tokens_in", kind] = step.tokens_in
        values["tokens_out", kind] = step.tokens_out
        values["valid_share", kind] = step.ok / answers if answers else 1.0
        values["repaired_share", kind] = step.repaired / answers if answers else 0.0
    return values


def require_few_dead(tally: Tally, subject: Subject, limit: float, whole: DataFrame | None = None) -> None:
    """Stop before features are written, and before more is spent on answers that nobody can use.

    Parameters
    ----------
    tally
        What this run asked so far.
    subject
        Which subjects.
    limit
        Largest share of dead letters.
    whole
        At the end, all subjects with their state: a second run must not slip through because it asks for nothing.
    """
    from pyspark.sql import functions as F

    counts = []
    if whole is not None or tally.subjects >= _JUDGED_AFTER:
        counts.append((tally.dead, tally.subjects, "of this run"))
    if whole is not None:
        row = whole.agg(
            F.count_if(F.col("state") == "dead").alias("dead"),
            F.count_if(F.col("state") != "missing").alias("all"),
        ).first()
        assert row is not None
        counts.append((row["dead"], row["all"], "in all"))
    for dead, of, when in counts:
        if of and dead / of > limit:
            raise QualityGateError(
                f"reasoning over {subject}s",
                f"{dead} of {of} {subject}s {when} are dead letters ({dead / of:.0%}, the limit is {limit:.0%})",
                "read their reasons in reasoning.answers, then mend the model or the prompts, or raise "
                "reasoning.max_failed_share",
            )
