"""What the next run would ask and cost, before it spends anything."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from isrf_pipeline.config.settings import PriceSettings, ReasoningSettings
from isrf_pipeline.lake.tables import ANSWERS
from isrf_pipeline.reasoning.conversation import Chain
from isrf_pipeline.reasoning.fingerprint import ModelIdentity
from isrf_pipeline.reasoning.pending import missing_within
from isrf_pipeline.reasoning.prompts import example_answer
from isrf_pipeline.reasoning.steps import Step, Subject, chain_of
from isrf_pipeline.reasoning.tally import PastCost, last_metric, past_costs
from isrf_pipeline.reasoning.tokens import TokenCount
from isrf_pipeline.reasoning.tracing import trace
from isrf_pipeline.stages.context import StageContext

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

#: Calls, output tokens and valid share of an answer before this lake has any of its own: the bundled model's on the
#: demo lake (docs/reasoning.md). Of another model only the lengths are taken, and that all its answers are good.
_FIRST_NIGHT = {
    "item.single": (1.02, 93.8, 0.98),
    # For large models, which nobody has measured here: as the answer with the same fields.
    "item.free": (1.02, 93.8, 0.98),
    "item.forward": (1.12, 22.6, 0.88),
    "item.backward": (1.90, 32.4, 0.10),
    "item.synthesis": (1.11, 58.3, 0.89),
    "user.single": (1.60, 174.3, 0.46),
    "user.forward": (1.37, 57.1, 0.63),
    "user.backward": (1.86, 69.0, 0.14),
    "user.synthesis": (1.78, 160.9, 0.22),
}
#: Inputs whose prompts are tokenised, taken by hash.
_SAMPLE = 200


@dataclass(frozen=True)
class StepPlan:
    """One step of the next run.

    Attributes
    ----------
    kind
        Such as item.forward.
    calls
        Calls, second attempts included.
    tokens_in, tokens_out
        Prompt and output tokens.
    """

    kind: str
    calls: int
    tokens_in: int
    tokens_out: int


@dataclass(frozen=True)
class SubjectPlan:
    """What the next run would do for one kind of subject.

    Attributes
    ----------
    subject
        item or user.
    rows
        Subjects in the lake.
    cached
        Subjects that need no call, those with dead letters included.
    to_do
        Subjects that would be asked about.
    beyond
        Subjects that max_items or max_clients leaves for later.
    steps
        Calls and tokens, step by step.
    seconds
        At the last measured rate, or None where none was measured.
    """

    subject: Subject
    rows: int
    cached: int
    to_do: int
    beyond: int
    steps: tuple[StepPlan, ...]
    seconds: float | None

    def total(self, what: str) -> int:
        """Sum of calls, tokens_in or tokens_out over all steps."""
        return sum(getattr(step, what) for step in self.steps)


def plan_subjects(
    ctx: StageContext,
    subject: Subject,
    subjects: DataFrame,
    limit: int | None,
    count: TokenCount,
    only_changed: bool = False,
) -> SubjectPlan:
    """Plan what :func:`isrf_pipeline.reasoning.waves.reason_over` would do with the same arguments.

    Prompt tokens are those of the real tokenizer on a sample of the missing subjects; an answer that a later prompt
    holds is stood in for by the prompts' example. Output tokens, second attempts and the rate come from past runs;
    before the first, from the bundled model's on the demo lake.
    """
    from pyspark.sql import functions as F

    settings = ctx.settings.reasoning
    answers = (
        ctx.lake.read(ANSWERS) if ctx.lake.exists(ANSWERS) else ctx.spark.createDataFrame([], ANSWERS.ddl())
    )
    model = ModelIdentity.of(settings.engine)
    traced = trace(subjects, answers, subject, settings.mode, model, only_changed).persist()
    try:
        missing = missing_within(traced, limit)
        counts = traced.agg(
            F.count("*").alias("rows"), F.count_if(F.col("state") == "missing").alias("missing")
        ).first()
        assert counts is not None
        to_do = missing.count()
        # Twins ask once.
        asking = missing.dropDuplicates(["fingerprint"])
        by_place = {
            row["place"]: row["count"]
            for row in asking.groupBy(F.size("answers").alias("place")).count().collect()
        }
        sample = asking.orderBy(F.xxhash64("fingerprint")).limit(_SAMPLE).select("input", "answers").collect()
    finally:
        traced.unpersist()
    past = past_costs(answers, settings)
    steps = []
    reaching = 0.0
    for place, step in enumerate(chain_of(subject, settings.mode)):
        reaching += by_place.get(place, 0)
        plan, valid = _step_plan(step, place, reaching, sample, past, subject, settings, count)
        steps.append(plan)
        # A dead letter has no next step.
        reaching *= valid
    tokens_out = sum(step.tokens_out for step in steps)
    rate = last_metric(ctx, f"reason_{subject}s.tokens_out_per_second")
    start = last_metric(ctx, f"reason_{subject}s.start_seconds") or 0.0
    return SubjectPlan(
        subject,
        counts["rows"],
        counts["rows"] - counts["missing"],
        to_do,
        counts["missing"] - to_do,
        tuple(steps),
        (tokens_out / rate + start if tokens_out else 0.0) if rate else None,
    )


def _step_plan(
    step: Step,
    place: int,
    subjects: float,
    sample: Sequence[tuple[str, list[str]]],
    past: dict[str, PastCost],
    subject: Subject,
    settings: ReasoningSettings,
    count: TokenCount,
) -> tuple[StepPlan, float]:
    """Plan of one step that so many subjects reach, and the share of them that get through it."""
    if subjects == 0:
        return StepPlan(step.kind, 0, 0, 0), 1.0
    chain = chain_of(subject, settings.mode)
    chats = []
    for data, answers in sample:
        if len(answers) <= place:
            stand_ins = [example_answer(earlier.template) for earlier in chain[len(answers) : place]]
            chats.append(Chain("", data, [*answers, *stand_ins]).prompt(step).messages())
    read = sum(count(chats)) / len(chats)
    calls, tokens_out, valid = _FIRST_NIGHT[step.kind]
    if settings.engine.model != "bundled":
        calls, valid = 1.0, 1.0
    known = past.get(step.kind, PastCost(calls, read * calls, tokens_out, valid))
    # A second attempt reads the prompt, the first answer and the error.
    plan = StepPlan(
        step.kind,
        round(subjects * known.calls),
        round(subjects * read * known.calls),
        round(subjects * known.tokens_out),
    )
    return plan, known.valid


def gpu_hours(seconds: float, settings: ReasoningSettings) -> float:
    """Hours of GPUs that a run of ``seconds`` holds: every worker holds the GPUs of its engine."""
    return seconds / 3600 * settings.workers * settings.engine.gpus


def price_of(plans: Sequence[SubjectPlan], settings: ReasoningSettings) -> float:
    """Sum by the configured prices, in the currency that they are given in."""
    price: PriceSettings = settings.price
    tokens_in = sum(plan.total("tokens_in") for plan in plans)
    tokens_out = sum(plan.total("tokens_out") for plan in plans)
    seconds = sum(plan.seconds or 0.0 for plan in plans)
    return (
        gpu_hours(seconds, settings) * price.gpu_hour
        + tokens_in / 1e6 * price.million_tokens_in
        + tokens_out / 1e6 * price.million_tokens_out
    )
