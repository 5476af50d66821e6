"""Engines that die or write garbage, in real Spark workers with a stand-in for the model."""

from __future__ import annotations

import datetime
import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from isrf_pipeline.config import Settings
from isrf_pipeline.errors import QualityGateError, ReasoningError
from isrf_pipeline.lake import Lake, tables
from isrf_pipeline.run.failures import known_error
from isrf_pipeline.stages import reason_items
from isrf_pipeline.stages.context import StageContext

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

pytestmark = [pytest.mark.faults, pytest.mark.spark]

N_ITEMS = 9
WAVE = 3


def stand_in(folder: Path, behaviour: str) -> Callable[[Any], Any]:
    """Factory of engines that write each title they are asked about to ``folder``.

    ``behaviour`` is ``good``, ``garbage``, ``killed`` (the process dies in the second wave) or ``broken`` (the
    engine fails in the second wave). Everything is nested, so that it reaches the workers by value.
    """
    log = str(folder / "asked.txt")

    def factory(settings: Any) -> Any:
        import json
        import os
        import signal

        from isrf_pipeline.errors import ReasoningError
        from isrf_pipeline.reasoning.conversation import Completion

        class Engine:
            def carry(self, conversations: Any, ahead: Any = ()) -> Any:
                for conversation in conversations:
                    outcome = conversation.advance(None)
                    while not isinstance(outcome, list):
                        outcome = conversation.advance(self.complete(outcome))
                    yield from outcome

            def complete(self, request: Any) -> Any:
                with open(log, "a+") as file:  # noqa: PTH123
                    file.seek(0)
                    earlier = len(file.readlines())
                    if earlier >= WAVE and behaviour == "killed":
                        os.kill(os.getpid(), signal.SIGKILL)
                    if earlier >= WAVE and behaviour == "broken":
                        raise ReasoningError("model x", "its engine failed in step y", "read the log")
                    file.write(request.messages[3]["content"].splitlines()[0] + "\n")
                answer = {
                    "who_for": "People who love it very much",
                    "who_not_for": "People who prefer other things",
                    "feature": "A thing of beauty for many people",
                    "tags": ["one", "two", "three"],
                }
                text = "I think that" if behaviour == "garbage" else json.dumps(answer)
                return Completion(text, 100, 20)

        return Engine()

    return factory


def asked(folder: Path) -> list[str]:
    path = folder / "asked.txt"
    return path.read_text().splitlines() if path.exists() else []


def items(spark: SparkSession, n: int = N_ITEMS) -> Any:
    rows = [
        (
            f"id-{i}",
            f"Scarf {i}",
            "Maison",
            ["Accessories"],
            "Silk.",
            100.0,
            {"colour": "ivory"},
            True,
            None,
            "x",
        )
        for i in range(n)
    ]
    return spark.createDataFrame(rows, tables.ITEMS.ddl())


def context(lake: Lake, run_id: str, **reasoning: Any) -> StageContext:
    settings = Settings.model_validate(
        {
            "lake": {"root": lake.root},
            "reasoning": {"mode": "single", "wave": WAVE, **reasoning},
            "embedding": {"partitions": 1},
        }
    )
    return StageContext(lake.spark, settings, lake, datetime.date(2026, 3, 1), run_id)


def test_killed_worker_costs_its_wave_only(spark: SparkSession, lake: Lake, tmp_path: Path) -> None:
    lake.overwrite(tables.ITEMS, items(spark))
    with pytest.raises(ReasoningError, match="worker process that holds its engine died") as caught:
        reason_items.run(context(lake, "first"), stand_in(tmp_path, "killed"))
    assert caught.value.exit_code == 1
    assert len(asked(tmp_path)) == WAVE
    assert lake.read(tables.ANSWERS).count() == WAVE
    assert not lake.exists(tables.ITEM_FEATURES)

    second = context(lake, "second")
    reason_items.run(second, stand_in(tmp_path, "good"))
    titles = asked(tmp_path)
    assert len(titles) == N_ITEMS and len(set(titles)) == N_ITEMS, "nothing is asked twice"
    assert second.counters.llm_calls == N_ITEMS - WAVE
    assert second.counters.llm_tokens == 120 * (N_ITEMS - WAVE)
    assert lake.read(tables.ITEM_FEATURES).where("origin = 'llm'").count() == N_ITEMS

    third = context(lake, "third")
    reason_items.run(third, stand_in(tmp_path, "broken"))
    assert third.counters.llm_calls == 0, "everything is in the cache"


def test_dead_engine_fails_the_task_and_writes_no_error_as_data(
    spark: SparkSession, lake: Lake, tmp_path: Path
) -> None:
    lake.overwrite(tables.ITEMS, items(spark))
    with pytest.raises(Exception, match="its engine failed") as caught:
        reason_items.run(context(lake, "first"), stand_in(tmp_path, "broken"))
    known = known_error(caught.value)
    assert isinstance(known, ReasoningError)
    assert str(known) == "model x: its engine failed in step y; read the log."
    stored = lake.read(tables.ANSWERS)
    assert stored.count() == WAVE and stored.where("status != 'ok'").count() == 0


def test_garbage_becomes_dead_letters_and_stops_the_run(
    spark: SparkSession, lake: Lake, tmp_path: Path
) -> None:
    lake.overwrite(tables.ITEMS, items(spark, 4))
    with pytest.raises(QualityGateError, match=r"4 of 4 items of this run are dead letters \(100%") as caught:
        reason_items.run(context(lake, "first"), stand_in(tmp_path, "garbage"))
    assert caught.value.exit_code == 4
    assert not lake.exists(tables.ITEM_FEATURES)
    dead = lake.read(tables.ANSWERS).collect()
    assert {(row.status, row.answer, row.raw) for row in dead} == {("dead", None, "I think that")}
    assert all(row.reason.startswith("item.single: unparsable answer") for row in dead)

    again = context(lake, "second")
    with pytest.raises(QualityGateError, match="4 of 4 items in all"):
        reason_items.run(again, stand_in(tmp_path, "good"))
    assert again.counters.llm_calls == 0, "a dead letter counts as cached"

    tolerant = context(lake, "third", max_failed_share=1.0)
    reason_items.run(tolerant, stand_in(tmp_path, "good"))
    rows = lake.read(tables.ITEM_FEATURES).collect()
    assert len(rows) == 4
    assert {row.origin for row in rows} == {"attributes"}
    assert all("unparsable answer" in row.reason for row in rows)
    assert all(row.feature_embedding is None and row.title_embedding for row in rows)


def test_limit_takes_items_on_sale_and_the_newest_first_and_asks_for_twins_once(
    spark: SparkSession, lake: Lake, tmp_path: Path
) -> None:
    def row(item_id: str, title: str, available: bool, launched: str) -> tuple[Any, ...]:
        day = datetime.date.fromisoformat(launched)
        return (item_id, title, None, [], None, None, {}, available, day, "x")

    rows = [
        row("old", "Old", True, "2020-01-01"),
        row("gone", "Gone", False, "2026-01-01"),
        row("new", "New", True, "2025-01-01"),
        row("twin", "New", True, "2025-01-01"),
    ]
    lake.overwrite(tables.ITEMS, spark.createDataFrame(rows, tables.ITEMS.ddl()))
    ctx = context(lake, "first", items={"max_items": 3})
    reason_items.run(ctx, stand_in(tmp_path, "good"))
    assert sorted(asked(tmp_path)) == ["Title: New", "Title: Old"]
    found = {r.item_id: (r.origin, r.reason) for r in lake.read(tables.ITEM_FEATURES).collect()}
    assert found["new"] == found["twin"] == found["old"] == ("llm", None)
    assert found["gone"] == ("attributes", "not asked yet: beyond max_items or the budget of the run")


def test_no_identifier_reaches_a_prompt(spark: SparkSession, lake: Lake) -> None:
    from isrf_pipeline.reasoning.items import item_subjects

    inputs = [json.loads(row.input) for row in item_subjects(items(spark)).collect()]
    assert "id-" not in json.dumps(inputs)
    assert set(inputs[0]) == {"title", "brand", "categories", "price", "description", "attributes"}


def test_after_one_item_changes_exactly_that_one_is_asked(
    spark: SparkSession, lake: Lake, tmp_path: Path
) -> None:
    lake.overwrite(tables.ITEMS, items(spark, 100))
    first = context(lake, "first", wave=60)
    reason_items.run(first, stand_in(tmp_path, "good"))
    assert first.counters.llm_calls == 100
    changed = items(spark, 100).selectExpr(
        "* EXCEPT (title)", "CASE WHEN item_id = 'id-7' THEN 'Scarf of silk' ELSE title END AS title"
    )
    lake.overwrite(tables.ITEMS, changed)
    second = context(lake, "second", wave=60)
    reason_items.run(second, stand_in(tmp_path, "good"))
    assert second.counters.llm_calls == 1
    assert asked(tmp_path)[100:] == ["Title: Scarf of silk"]


def test_a_budget_ends_the_run_in_good_order_and_the_next_goes_on(
    spark: SparkSession, lake: Lake, tmp_path: Path
) -> None:
    lake.overwrite(tables.ITEMS, items(spark))
    first = context(lake, "first", budget={"max_llm_calls": 5})
    reason_items.run(first, stand_in(tmp_path, "good"))
    assert (first.counters.llm_calls, first.counters.stopped_by) == (5, "reasoning.budget.max_llm_calls")
    known = {row.item_id: row for row in lake.read(tables.ITEM_FEATURES).collect()}
    assert len(known) == N_ITEMS
    waiting = [row for row in known.values() if row.origin == "attributes"]
    assert len(waiting) == N_ITEMS - 5 and all("the budget of the run" in row.reason for row in waiting)

    # 120 tokens an answer: what is left is worth four answers and one token too few for a fifth.
    second = context(lake, "second", budget={"max_llm_tokens": 5 * 120 - 1})
    reason_items.run(second, stand_in(tmp_path, "good"))
    assert (second.counters.llm_calls, second.counters.stopped_by) == (4, None)
    assert len(set(asked(tmp_path))) == len(asked(tmp_path)) == N_ITEMS


def test_items_that_clients_chose_are_asked_about_first(
    spark: SparkSession, lake: Lake, tmp_path: Path
) -> None:
    lake.overwrite(tables.ITEMS, items(spark, 6))
    at = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
    events = [("u1", item, "purchase", at, 1.0, "r") for item in ("id-4", "id-2")]
    lake.overwrite(tables.INTERACTIONS, spark.createDataFrame(events, tables.INTERACTIONS.ddl()))
    reason_items.run(context(lake, "first", items={"max_items": 2}), stand_in(tmp_path, "good"))
    assert sorted(asked(tmp_path)) == ["Title: Scarf 2", "Title: Scarf 4"]
