from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from isrf_pipeline.config.settings import BudgetSettings
from isrf_pipeline.reasoning.budget import Allowance, Spent, allowance

COST = Spent(subjects=10, calls=30, tokens=5000, seconds=20.0)


def test_without_limits_a_wave_is_whole() -> None:
    assert allowance(128, Spent(), COST, BudgetSettings()) == Allowance(128)


def test_the_tightest_limit_decides() -> None:
    budget = BudgetSettings(max_llm_calls=300, max_llm_tokens=20_000)
    # 300 calls pay for 100 subjects of 3 calls each, 20,000 tokens for 40 of 500 each.
    assert allowance(128, Spent(), COST, budget) == Allowance(40, "reasoning.budget.max_llm_tokens")


def test_what_was_spent_is_taken_off() -> None:
    budget = BudgetSettings(max_llm_calls=300)
    assert allowance(128, Spent(50, 270, 0, 0.0), COST, budget).subjects == 10
    assert allowance(128, Spent(50, 299, 0, 0.0), COST, budget).subjects == 0
    assert allowance(128, Spent(50, 400, 0, 0.0), COST, budget).subjects == 0


def test_wall_time_counts_in_minutes() -> None:
    budget = BudgetSettings(max_wall_minutes=1)
    assert allowance(128, Spent(0, 0, 0, 30.0), COST, budget) == Allowance(
        15, "reasoning.budget.max_wall_minutes"
    )


def test_an_unknown_rate_is_no_limit_until_the_time_is_over() -> None:
    budget = BudgetSettings(max_wall_minutes=1)
    unknown = Spent(100, 300, 50_000, 0.0)
    assert allowance(128, Spent(), unknown, budget).subjects == 128
    assert allowance(128, Spent(0, 0, 0, 60.0), unknown, budget).subjects == 0


@given(st.integers(0, 10_000), st.integers(0, 10_000), st.integers(1, 500))
def test_a_wave_never_costs_more_than_is_left(limit: int, spent: int, wished: int) -> None:
    cost = Spent(subjects=7, calls=21, tokens=100, seconds=1.0)
    allowed = allowance(wished, Spent(0, spent, 0, 0.0), cost, BudgetSettings(max_llm_calls=limit))
    assert 0 <= allowed.subjects <= wished
    assert allowed.subjects * 3 <= max(limit - spent, 0)
