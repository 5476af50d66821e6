"""Both reasoning stages with a real vLLM engine and the small bundled model, on one engine for the whole module."""

from __future__ import annotations

import datetime
import json
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from isrf_pipeline.config import Settings
from isrf_pipeline.environment.model import default_model_path
from isrf_pipeline.lake import Lake, tables
from isrf_pipeline.reasoning.answers import FEATURE_WORDS, INTEREST_WORDS, ItemSingle
from isrf_pipeline.reasoning.items import item_subjects
from isrf_pipeline.reasoning.plan import SubjectPlan, plan_subjects
from isrf_pipeline.reasoning.prompts import render_prompt
from isrf_pipeline.reasoning.steps import Mode, Subject, chain_of
from isrf_pipeline.reasoning.tokens import TokenCount
from isrf_pipeline.stages import reason_items, reason_users
from isrf_pipeline.stages.context import StageContext

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

pytestmark = [pytest.mark.llm, pytest.mark.slow, pytest.mark.spark]

NIGHT = datetime.date(2026, 3, 1)
OVERLONG = "i8"


@dataclass
class Night:
    """What one night with both stages left behind, and what was planned when three more items had come."""

    lake: Lake
    items: StageContext
    users: StageContext
    planned: SubjectPlan
    engine_log: Path

    def engine_rows(self) -> list[tuple[int, bool, float]]:
        """Worker process, whether it had to start an engine, seconds since the last wave; one row each time it is used:
        once to make it ready for a stage, and once a wave."""
        rows = [line.split() for line in self.engine_log.read_text().splitlines()]
        return [(int(pid), started == "True", float(idle)) for pid, started, idle in rows]


def observed_engine(log: Path) -> Callable[[Any], Any]:
    """The real engine; each use of it leaves a line. Nested, so that it reaches the workers by value."""
    path = str(log)

    def factory(settings: Any) -> Any:
        import os
        import time

        from isrf_pipeline.reasoning import engine as module

        try:
            with open(f"{path}.end") as file:  # noqa: PTH123
                idle = time.time() - float(file.read())
        except FileNotFoundError:
            idle = 0.0
        started = not module._ENGINES
        engine = module.engine_of_this_process(settings.engine)

        class Observed:
            def carry(self, conversations: Any, ahead: Any = ()) -> Any:
                yield from engine.carry(conversations, ahead)
                with open(f"{path}.ahead", "a") as file:  # noqa: PTH123
                    file.write(f"{len(engine._held) + len(engine._ended)}\n")
                with open(f"{path}.end", "w") as file:  # noqa: PTH123
                    file.write(str(time.time()))

        with open(path, "a") as file:  # noqa: PTH123
            file.write(f"{os.getpid()} {started} {idle}\n")
        return Observed()

    return factory


def fill(spark: SparkSession, lake: Lake) -> None:
    kinds = [
        ("Silk Scarf", "silk twill"),
        ("Leather Tote", "calfskin"),
        ("Wool Coat", "wool"),
        ("Loafers", "suede"),
    ]
    rows: list[tuple[Any, ...]] = []
    for i in range(9):
        title, material = kinds[i % 4]
        attributes = {"material": material, "colour": ["ivory", "navy"][i // 4 % 2]}
        if f"i{i}" == OVERLONG:
            attributes = {f"property {n}": "of no interest to anybody at all" for n in range(400)}
        text = f"{title} in {material}, made in small numbers."
        rows.append(
            (f"i{i}", title, "Maison Aurelle", ["Fashion"], text, 300.0 + i, attributes, True, None, "x")
        )
    lake.overwrite(tables.ITEMS, spark.createDataFrame(rows, tables.ITEMS.ddl()))
    start = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
    events = [
        (
            f"u{user}",
            f"i{(user + step) % 8}",
            "purchase",
            start + datetime.timedelta(days=10 * user + step),
            1.0,
            "r",
        )
        for user in range(4)
        for step in range(4)
    ]
    lake.overwrite(tables.INTERACTIONS, spark.createDataFrame(events, tables.INTERACTIONS.ddl()))
    clients = [(f"u{user}", {}, True) for user in range(5)]
    lake.overwrite(tables.CLIENTS, spark.createDataFrame(clients, tables.CLIENTS.ddl()))


def context(lake: Lake, run_id: str, mode: str) -> StageContext:
    settings = Settings.model_validate(
        {
            "lake": {"root": lake.root},
            "reasoning": {
                "mode": mode,
                # Four subjects a commit, and all others begun ahead.
                "wave": 20,
                "engine": {"max_num_seqs": 16, "max_model_len": 1024},
                "users": {"max_clients": 2, "newest_items": 3},
                # What the small model writes is not under test here.
                "max_failed_share": 1.0,
            },
            "embedding": {"partitions": 1},
        }
    )
    return StageContext(lake.spark, settings, lake, NIGHT, run_id)


@pytest.fixture(scope="module")
def night(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Night:
    tmp = tmp_path_factory.mktemp("reasoning")
    settings = Settings.model_validate({"lake": {"root": str(tmp / "lake")}})
    lake = Lake(spark, settings.lake)
    fill(spark, lake)
    log = tmp / "engine.txt"
    items, more = context(lake, "items", "single"), context(lake, "items-2", "single")
    users = context(lake, "users", "chained")
    reason_items.run(items, observed_engine(log))
    added = lake.read(tables.ITEMS).where("item_id IN ('i1', 'i2', 'i3')")
    lake.append(
        tables.ITEMS,
        added.selectExpr("* EXCEPT (item_id, price)", "'n' || item_id AS item_id", "price + 900 AS price"),
    )
    planned = plan_subjects(
        more, "item", item_subjects(lake.read(tables.ITEMS)), None, TokenCount(more.settings.reasoning.engine)
    )
    reason_items.run(more, observed_engine(log))
    reason_users.run(users, observed_engine(log))
    return Night(lake, items, users, planned, log)


def unit(vector: list[float]) -> bool:
    return abs(sum(x * x for x in vector) - 1.0) < 1e-3


def test_every_item_is_answered_or_has_a_reason(
    night: Night, record_property: Callable[[str, object], None]
) -> None:
    rows = {row.item_id: row for row in night.lake.read(tables.ITEM_FEATURES).collect()}
    assert set(rows) == {f"i{i}" for i in range(9)} | {"ni1", "ni2", "ni3"}
    answered = [row for row in rows.values() if row.origin == "llm"]
    record_property("items the small model answered", f"{len(answered)} of {len(rows)}")
    for row in rows.values():
        assert unit(row.embedding) and unit(row.title_embedding) and unit(row.attribute_embedding)
        assert (row.feature_embedding is None) == (row.origin != "llm")
        assert (row.reason is None) == (row.origin == "llm")
    for row in answered:
        assert 6 <= len(row.feature.split()) <= FEATURE_WORDS
        assert row.tags and row.who_for and row.who_not_for
        assert unit(row.feature_embedding)
    assert len(answered) >= 8, "guided decoding must make even the small model answer most of the time"


def test_stored_answers_are_valid_json_of_the_schema(night: Night) -> None:
    rows = night.lake.read(tables.ANSWERS).where("run_id = 'items'").collect()
    assert len(rows) == 9
    assert sum(row.calls for row in rows) == night.items.counters.llm_calls
    for row in rows:
        if row.status == "ok":
            assert set(ItemSingle.model_validate(json.loads(row.answer)).model_dump()) == set(
                ItemSingle.model_fields
            )
            assert row.tokens_in > 0 and row.tokens_out > 0
        else:
            assert row.reason


def test_overlong_input_is_shortened_and_costs_nobody_else(night: Night) -> None:
    rows = night.lake.read(tables.ANSWERS).where("run_id = 'items'").collect()
    assert {row.subject for row in rows if "shortened" in (row.note or "")} == {OVERLONG}
    (row,) = (row for row in rows if row.subject == OVERLONG)
    assert row.status == "ok" or "room" not in row.reason
    assert 0 < row.tokens_in < 2 * 1024


def test_what_was_begun_ahead_is_found_again_and_asked_once(night: Night) -> None:
    rows = night.lake.read(tables.ANSWERS).where("run_id = 'items'").collect()
    assert len(rows) == len({row.fingerprint for row in rows}) == 9
    begun = [int(line) for line in Path(f"{night.engine_log}.ahead").read_text().split()]
    assert begun == [5, 1, 0, 0, 0], "what the engine held of later waves when each of the five ended"


def test_the_prefix_cache_is_hit(night: Night, record_property: Callable[[str, object], None]) -> None:
    rows = night.lake.read(tables.ANSWERS).where("run_id = 'items'").collect()
    hits = sum(row.tokens_cached for row in rows) / sum(row.tokens_in for row in rows)
    record_property("prompt tokens found in the prefix cache", f"{hits:.0%}")
    assert hits > 0.3


def test_one_engine_serves_all_waves_of_both_stages(night: Night) -> None:
    rows = night.engine_rows()
    assert len(rows) == 8, "made ready for each stage, three and one waves of items and one of clients"
    assert rows[0][1]
    for (before, _, _), (after, started, idle) in pairwise(rows):
        # Spark ends a worker after a minute without work; only a starved machine takes that long between waves.
        assert (after == before and not started) or idle > 50


def test_the_engine_is_gone_after_reason_users(night: Night) -> None:
    pid = night.engine_rows()[-1][0]
    deadline = time.monotonic() + 20
    while Path(f"/proc/{pid}").exists() and time.monotonic() < deadline:
        time.sleep(0.2)
    assert not Path(f"/proc/{pid}").exists() and pid != os.getpid()


def test_most_recent_clients_are_asked_and_the_others_composed(night: Night) -> None:
    rows = {row.user_id: row for row in night.lake.read(tables.USER_FEATURES).collect()}
    assert set(rows) == {f"u{user}" for user in range(5)}
    assert rows["u4"].origin == "history" and rows["u4"].interest is None and rows["u4"].embedding is None
    for user in ("u0", "u1"):
        assert (rows[user].origin, rows[user].reason) == (
            "composed",
            "not asked yet: beyond max_clients or the budget of the run",
        )
    for user in ("u2", "u3"):
        assert rows[user].origin == "llm" or rows[user].reason.startswith("user.")
    for user in ("u0", "u1", "u2", "u3"):
        assert unit(rows[user].embedding)
        assert len(rows[user].interest.split()) <= INTEREST_WORDS
    kinds = {row.kind for row in night.lake.read(tables.ANSWERS).where("run_id = 'users'").collect()}
    assert kinds <= {"user.forward", "user.backward", "user.synthesis"} and "user.forward" in kinds


def test_second_run_asks_nothing(night: Night) -> None:
    before = {row.user_id: row.interest for row in night.lake.read(tables.USER_FEATURES).collect()}
    items, users = context(night.lake, "items-3", "single"), context(night.lake, "users-2", "chained")
    reason_items.run(items, observed_engine(night.engine_log))
    reason_users.run(users, observed_engine(night.engine_log))
    assert items.counters.llm_calls == users.counters.llm_calls == 0
    assert len(night.engine_rows()) == 8, "not even an engine is started"
    assert {row.user_id: row.interest for row in night.lake.read(tables.USER_FEATURES).collect()} == before


def test_the_plan_is_close_to_what_the_run_then_used(night: Night) -> None:
    planned = night.planned
    assert (planned.rows, planned.cached, planned.to_do, planned.beyond) == (12, 9, 3, 0)
    assert planned.seconds is not None, "the rate of the first night is known"
    (used,) = (
        night.lake.read(tables.ANSWERS)
        .where("run_id = 'items-2'")
        .selectExpr("sum(calls) calls", "sum(tokens_in) tokens_in", "sum(tokens_out) tokens_out")
        .collect()
    )
    assert planned.total("calls") == used.calls == 3
    assert planned.total("tokens_in") == pytest.approx(used.tokens_in, rel=0.02)
    assert planned.total("tokens_out") == pytest.approx(used.tokens_out, rel=0.25), "three answers only"


@pytest.mark.parametrize(
    ("subject", "mode", "blocks"),
    [("item", "single", [2]), ("item", "chained", [1, 1, 1]), ("user", "chained", [1, 1, 2])],
)
def test_fixed_parts_of_prompts_fill_whole_blocks_of_the_prefix_cache(
    subject: Subject, mode: Mode, blocks: list[int]
) -> None:
    """A CPU engine caches 128 tokens at a time: a few tokens short of a block, all of it is computed each time."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(default_model_path())
    marker = "@@@"
    filled = []
    for step in chain_of(subject, mode):
        values = dict.fromkeys(("title", "brand", "categories", "price", "description"), marker)
        answers = dict.fromkeys(("who_for", "who_not_for", "likes", "avoids"), marker)
        prompt = render_prompt(step.template, {**values, **answers, "attributes": {}, "history": []})
        messages = [*prompt.messages()[:-1], {"role": "user", "content": marker}]
        text = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
        filled.append(len(tokenizer.encode(text.split(marker)[0], add_special_tokens=False)) // 128)
    assert filled == blocks
