"""``isrf plan``: what the next run would ask of the language model, before it spends anything."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING

from isrf_pipeline.cli.parser import CommandGroup, add_run_date_argument, add_settings_arguments
from isrf_pipeline.config import Settings, load_settings
from isrf_pipeline.evaluation.split import training_events
from isrf_pipeline.lake import Lake, tables
from isrf_pipeline.reasoning.items import item_subjects
from isrf_pipeline.reasoning.plan import SubjectPlan, gpu_hours, plan_subjects, price_of
from isrf_pipeline.reasoning.tiers import client_subjects
from isrf_pipeline.reasoning.tokens import TokenCount
from isrf_pipeline.reasoning.users import item_lines, newest_choices
from isrf_pipeline.run.identity import parse_run_date
from isrf_pipeline.run.reading import open_lake
from isrf_pipeline.run.terminal import duration, say, text_table
from isrf_pipeline.stages.context import StageContext
from isrf_pipeline.stages.reason_items import sold_items

if TYPE_CHECKING:
    from pyspark.sql import DataFrame


def add_commands(commands: CommandGroup) -> None:
    """Add the command."""
    plan = commands.add(
        "plan", "print what the next run would ask of the language model and what it would cost"
    )
    add_settings_arguments(plan)
    add_run_date_argument(plan)
    plan.set_defaults(command=print_plan)


def print_plan(arguments: argparse.Namespace) -> int:
    """Print the plan."""
    effective = load_settings(arguments.conf_file, arguments.set)
    settings = effective.settings
    if settings.reasoning.backend == "none":
        say("reasoning is off (reasoning.backend is none): no calls, no tokens, no cost")
        return 0
    with open_lake(effective) as lake:
        ctx = StageContext(lake.spark, settings, lake, parse_run_date(arguments.run_date), "plan")
        plans = planned(ctx)
    for line in plan_lines(plans, settings):
        say(line)
    return 0


def planned(ctx: StageContext) -> list[SubjectPlan]:
    """Plans of both stages, by the tables of the last ingest."""
    reasoning = ctx.settings.reasoning
    count = TokenCount(reasoning.engine)
    items = ctx.lake.read(tables.ITEMS)
    plans = []
    if reasoning.items.enabled:
        subjects = item_subjects(items, sold_items(ctx))
        plans.append(plan_subjects(ctx, "item", subjects, reasoning.items.max_items, count))
    if reasoning.users.enabled:
        users = reasoning.users
        training = training_events(ctx.lake.read(tables.INTERACTIONS), ctx.settings.split)
        lines = item_lines(items, _features(ctx.lake, items))
        asked = client_subjects(ctx, training, newest_choices(training, users.newest_items), lines)
        if asked is not None:
            plans.append(
                plan_subjects(ctx, "user", asked.subjects, users.max_clients, count, asked.only_changed)
            )
    return plans


def _features(lake: Lake, items: DataFrame) -> DataFrame:
    """Features of all items: what clients' prompts say of an item that has none yet comes from its attributes."""
    from pyspark.sql import functions as F

    columns = {
        "feature": F.lit(None).cast("string"),
        "tags": F.array().cast("array<string>"),
    }
    if not lake.exists(tables.ITEM_FEATURES):
        return items.select("item_id").withColumns(columns)
    known = lake.read(tables.ITEM_FEATURES).select("item_id", *columns)
    return known.unionByName(items.select("item_id").join(known, "item_id", "left_anti").withColumns(columns))


def plan_lines(plans: Sequence[SubjectPlan], settings: Settings) -> list[str]:
    """Lay out plans: subjects first, then calls and tokens step by step, then time and cost."""
    reasoning, budget = settings.reasoning, settings.reasoning.budget
    lines = text_table(
        ("", "rows", "cached", "to do", "later"),
        [(f"{p.subject}s", f"{p.rows:,}", f"{p.cached:,}", f"{p.to_do:,}", f"{p.beyond:,}") for p in plans],
    )
    steps: list[tuple[str, ...]] = [
        (s.kind, f"{s.calls:,}", f"{s.tokens_in:,}", f"{s.tokens_out:,}") for p in plans for s in p.steps
    ]
    sums = [sum(p.total(what) for p in plans) for what in ("calls", "tokens_in", "tokens_out")]
    steps.append(("all", *(f"{value:,}" for value in sums)))
    lines += ["", *text_table(("step", "calls", "prompt tokens", "output tokens"), steps), ""]
    known = [p.seconds for p in plans if p.total("calls")]
    if any(seconds is None for seconds in known):
        lines.append("time    unknown: no run has measured a rate on this lake yet")
    else:
        seconds = sum(s for s in known if s is not None)
        lines.append(
            f"time    {duration(seconds)} at the last measured rate, with {reasoning.workers} workers"
        )
        if reasoning.engine.gpus:
            lines.append(f"GPU     {gpu_hours(seconds, reasoning):,.2f} GPU hours")
    lines.append(f"cost    {price_of(plans, reasoning):,.2f} by reasoning.price")
    for name, limit, value in (
        ("max_llm_calls", budget.max_llm_calls, sums[0]),
        ("max_llm_tokens", budget.max_llm_tokens, sums[1] + sums[2]),
    ):
        if limit is not None and value > limit:
            lines.append(
                f"budget  reasoning.budget.{name} is {limit:,}: the run will stop there, the next goes on"
            )
    return lines
