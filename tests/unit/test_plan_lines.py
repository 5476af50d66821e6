from __future__ import annotations

from isrf_pipeline.cli.plan import plan_lines
from isrf_pipeline.config import Settings
from isrf_pipeline.reasoning.plan import StepPlan, SubjectPlan, price_of

ITEMS = SubjectPlan("item", 1000, 400, 500, 100, (StepPlan("item.single", 500, 150_000, 45_000),), 1800.0)
USERS = SubjectPlan("user", 50, 50, 0, 0, (StepPlan("user.single", 0, 0, 0),), None)


def settings(**reasoning: object) -> Settings:
    return Settings.model_validate({"lake": {"root": "lake"}, "reasoning": reasoning})


def test_rows_calls_tokens_time_and_money_are_told() -> None:
    given = settings(
        workers=4,
        engine={"gpus": 2},
        price={"gpu_hour": 3.0, "million_tokens_in": 2.0, "million_tokens_out": 10.0},
    )
    text = "\n".join(plan_lines([ITEMS, USERS], given))
    rows = [line.split() for line in text.splitlines()]
    assert ["items", "1,000", "400", "500", "100"] in rows
    assert ["item.single", "500", "150,000", "45,000"] in rows
    assert ["all", "500", "150,000", "45,000"] in rows
    assert "30 min" in text and "4.00 GPU hours" in text
    # Half an hour of 4 workers with 2 GPUs at 3, and 0.15 and 0.045 million tokens at 2 and 10.
    assert price_of([ITEMS, USERS], given.reasoning) == 4 * 3 + 0.3 + 0.45
    assert "12.75 by reasoning.price" in text


def test_an_unknown_rate_is_said_and_not_guessed() -> None:
    unknown = SubjectPlan("item", 10, 0, 10, 0, (StepPlan("item.single", 10, 3000, 900),), None)
    assert any("unknown: no run has measured a rate" in line for line in plan_lines([unknown], settings()))


def test_a_budget_below_the_plan_is_pointed_out() -> None:
    text = "\n".join(plan_lines([ITEMS], settings(budget={"max_llm_calls": 200, "max_llm_tokens": 900_000})))
    assert "reasoning.budget.max_llm_calls is 200: the run will stop there" in text
    assert "max_llm_tokens" not in text
