"""What each tier of clients asks of the model, with a stand-in for it."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from isrf_pipeline.config import Settings
from isrf_pipeline.lake import Lake, tables
from isrf_pipeline.stages import reason_users
from isrf_pipeline.stages.context import StageContext

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

pytestmark = pytest.mark.spark

NIGHT = datetime.date(2026, 3, 1)
START = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)


def stand_in() -> Callable[[Any], Any]:
    """Factory of backends that answer each client with the number of the lines they read."""

    def factory(settings: Any) -> Any:
        import json

        from isrf_pipeline.reasoning.conversation import Completion

        numbers = "none one two three four five".split()  # noqa: SIM905

        class Backend:
            def carry(self, conversations: Any, ahead: Any = ()) -> Any:
                for conversation in conversations:
                    outcome = conversation.advance(None)
                    while not isinstance(outcome, list):
                        lines = outcome.messages[-1]["content"].count("\n- ") + 1
                        answer = {
                            "likes": f"Things of which {numbers[lines]} were seen",
                            "avoids": "Everything else in the shop",
                            "interest": f"Cares for {numbers[lines]} kinds of lovely things",
                        }
                        outcome = conversation.advance(Completion(json.dumps(answer), 100, 20))
                    yield from outcome

        return Backend()

    return factory


def context(
    lake: Lake, run_id: str, night: datetime.date = NIGHT, model: str = "one", **users: Any
) -> StageContext:
    settings = Settings.model_validate(
        {
            "lake": {"root": lake.root},
            "reasoning": {"mode": "single", "engine": {"model": model}, "users": users},
            "embedding": {"partitions": 1},
            "split": {"policy": "none"},
        }
    )
    return StageContext(lake.spark, settings, lake, night, run_id)


def fill(spark: SparkSession, lake: Lake, more: tuple[tuple[str, str], ...] = ()) -> None:
    """Four items of rising price; clients u1 to u3 chose one to three of them, and those named in ``more``."""
    rows = [
        (f"i{n}", f"Thing {n}", "House", ["Things"], None, 10.0**n, {}, True, None, "x") for n in range(1, 5)
    ]
    lake.overwrite(tables.ITEMS, spark.createDataFrame(rows, tables.ITEMS.ddl()))
    unit = [1.0] + [0.0] * 3
    features = [
        (f"i{n}", None, None, None, [], "attributes", None, unit, None, None, None, unit) for n in range(1, 5)
    ]
    lake.overwrite(tables.ITEM_FEATURES, spark.createDataFrame(features, tables.ITEM_FEATURES.ddl()))
    chosen = [(f"u{user}", f"i{item}") for user in range(1, 4) for item in range(1, user + 1)]
    events = [
        (user, item, "purchase", START + datetime.timedelta(days=place), 1.0, "r")
        for place, (user, item) in enumerate([*chosen, *more])
    ]
    lake.overwrite(tables.INTERACTIONS, spark.createDataFrame(events, tables.INTERACTIONS.ddl()))
    clients = [(f"u{user}", {}, True) for user in range(1, 4)]
    lake.overwrite(tables.CLIENTS, spark.createDataFrame(clients, tables.CLIENTS.ddl()))


def interests(lake: Lake) -> dict[str, tuple[str, str]]:
    return {row.user_id: (row.origin, row.interest) for row in lake.read(tables.USER_FEATURES).collect()}


def test_changed_asks_again_only_where_the_history_is_another(spark: SparkSession, lake: Lake) -> None:
    fill(spark, lake)
    first = context(lake, "first")
    reason_users.run(first, stand_in())
    assert first.counters.llm_calls == 3

    another = context(lake, "second", model="two", tier="changed")
    reason_users.run(another, stand_in())
    assert another.counters.llm_calls == 0, "another model alone is no reason to ask again"
    assert interests(lake)["u2"] == ("llm", "Cares for two kinds of lovely things")

    fill(spark, lake, more=(("u2", "i4"),))
    changed = context(lake, "third", model="two", tier="changed")
    reason_users.run(changed, stand_in())
    assert changed.counters.llm_calls == 1
    assert interests(lake)["u2"] == ("llm", "Cares for three kinds of lovely things")

    everybody = context(lake, "fourth", model="two", tier="all")
    reason_users.run(everybody, stand_in())
    assert everybody.counters.llm_calls == 2, "the third has an answer of this model already"


def test_prototypes_ask_once_a_segment_of_an_earlier_night(spark: SparkSession, lake: Lake) -> None:
    fill(spark, lake)
    alone = context(lake, "first", tier="prototypes")
    reason_users.run(alone, stand_in())
    assert alone.counters.llm_calls == 0
    rows = lake.read(tables.USER_FEATURES).collect()
    assert {row.origin for row in rows} == {"composed"}
    assert {row.reason for row in rows} == {"no segments yet: prototypes come with the next night"}

    members = [(NIGHT, "s1", "u1", 1.0), (NIGHT, "s1", "u2", 1.0)]
    lake.overwrite(tables.SEGMENT_MEMBERS, spark.createDataFrame(members, tables.SEGMENT_MEMBERS.ddl()))
    again = context(lake, "again", tier="prototypes")
    reason_users.run(again, stand_in())
    assert again.counters.llm_calls == 0, "tonight's own segments do not count: a night can be repeated"

    later = context(lake, "later", NIGHT + datetime.timedelta(days=1), tier="prototypes")
    reason_users.run(later, stand_in())
    assert later.counters.llm_calls == 1
    found = interests(lake)
    assert found["u1"] == found["u2"] == ("prototype", "Cares for two kinds of lovely things")
    assert found["u3"][0] == "composed"


def test_a_limit_takes_whom_the_order_names_first(spark: SparkSession, lake: Lake) -> None:
    # The newest event is u3's; u1's purchase of the dearest thing makes him worth most.
    fill(spark, lake, more=(("u1", "i4"), ("u3", "i2")))
    reason_users.run(context(lake, "first", max_clients=1, order="value"), stand_in())
    assert [user for user, (origin, _) in sorted(interests(lake).items()) if origin == "llm"] == ["u1"]
    reason_users.run(context(lake, "second", max_clients=1, order="recency"), stand_in())
    # The limit says who is asked now; whoever has an answer keeps it.
    assert [user for user, (origin, _) in sorted(interests(lake).items()) if origin == "llm"] == ["u1", "u3"]
