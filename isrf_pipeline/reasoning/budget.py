"""What a run may still spend on the language model, in subjects of the next wave."""

from __future__ import annotations

from dataclasses import dataclass

from isrf_pipeline.config.settings import BudgetSettings


@dataclass(frozen=True)
class Spent:
    """What was spent on some subjects.

    Attributes
    ----------
    subjects
        Subjects that were asked about.
    calls, tokens
        Calls of the model; prompt and output tokens together.
    seconds
        Wall time of the waves.
    """

    subjects: int = 0
    calls: int = 0
    tokens: int = 0
    seconds: float = 0.0

    def __add__(self, other: Spent) -> Spent:
        return Spent(
            self.subjects + other.subjects,
            self.calls + other.calls,
            self.tokens + other.tokens,
            self.seconds + other.seconds,
        )


@dataclass(frozen=True)
class Allowance:
    """How many subjects the next wave may have.

    Attributes
    ----------
    subjects
        Their number, at most what was wished for.
    limit
        Name of the setting that made it smaller, or None.
    """

    subjects: int
    limit: str | None = None


def allowance(wished: int, spent: Spent, expected: Spent, budget: BudgetSettings) -> Allowance:
    """Cut a wave to what the budget leaves.

    A limit is kept as exactly as the expectation holds: a wave is no longer than what is left is expected to pay for.

    Parameters
    ----------
    wished
        Subjects of a whole wave.
    spent
        What the run has spent so far, on all kinds of subjects.
    expected
        What some subjects of this kind cost: measured in this run, else in earlier ones, else estimated. Its number
        of subjects is at least 1.
    budget
        The limits.
    """
    limits = {
        "reasoning.budget.max_llm_calls": (budget.max_llm_calls, spent.calls, expected.calls),
        "reasoning.budget.max_llm_tokens": (budget.max_llm_tokens, spent.tokens, expected.tokens),
        "reasoning.budget.max_wall_minutes": (
            None if budget.max_wall_minutes is None else 60 * budget.max_wall_minutes,
            spent.seconds,
            expected.seconds,
        ),
    }
    allowed = Allowance(wished)
    for name, (most, so_far, cost) in limits.items():
        if most is None:
            continue
        left = most - so_far
        affordable = int(left * expected.subjects / cost) if cost > 0 else wished
        affordable = 0 if left <= 0 else max(affordable, 0)
        if affordable < allowed.subjects:
            allowed = Allowance(affordable, name)
    return allowed
