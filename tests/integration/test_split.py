"""The split: golden histories, leaks that it must not have, and independence of the order of rows."""

from __future__ import annotations

import datetime
import random
from typing import TYPE_CHECKING, Any

import pytest

from isrf_pipeline.config.settings import SplitSettings
from isrf_pipeline.evaluation import split as split_module
from isrf_pipeline.evaluation.split import training_events, validation_events, with_part

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

pytestmark = pytest.mark.spark

_DDL = "user_id string, item_id string, event_type string, ts timestamp, weight float"
_LEAVE_ONE_OUT = SplitSettings()

Event = tuple[str, str, str, datetime.datetime, float]


def _event(user: str, item: str, minute: int, event_type: str = "purchase") -> Event:
    instant = datetime.datetime(2024, 1, 1, tzinfo=datetime.UTC) + datetime.timedelta(minutes=minute)
    return (user, item, event_type, instant, 1.0)


def _frame(spark: SparkSession, events: list[Event]) -> DataFrame:
    return spark.createDataFrame(events, _DDL)


def _minutes(rows: DataFrame) -> set[tuple[str, str, str, int]]:
    return {
        (r.user_id, r.item_id, r.event_type, r.m)
        for r in rows.selectExpr("*", "cast(unix_timestamp(ts) / 60 - 28401120 as int) as m").collect()
    }


def _parts(spark: SparkSession, events: list[Event], split: SplitSettings = _LEAVE_ONE_OUT) -> dict[Any, str]:
    rows = with_part(_frame(spark, events), split).selectExpr(
        "user_id", "item_id", "event_type", "cast(unix_timestamp(ts) / 60 - 28401120 as int) as m", "part"
    )
    return {(r.user_id, r.item_id, r.event_type, r.m): r.part for r in rows.collect()}


def test_each_item_once_is_plain_leave_one_out(spark: SparkSession) -> None:
    # Identifiers run against time: an order by identifier would hold out others.
    events = _frame(spark, [_event("u", item, minute) for minute, item in enumerate("dcba")])
    assert _minutes(training_events(events, _LEAVE_ONE_OUT)) == {
        ("u", "d", "purchase", 0),
        ("u", "c", "purchase", 1),
    }
    assert _minutes(validation_events(events, _LEAVE_ONE_OUT)) == {("u", "b", "purchase", 2)}
    assert _minutes(split_module.test_events(events, _LEAVE_ONE_OUT)) == {("u", "a", "purchase", 3)}
    assert training_events(events, _LEAVE_ONE_OUT).columns == events.columns


def test_held_out_item_takes_all_its_events_and_later_events_are_nobodys(spark: SparkSession) -> None:
    parts = _parts(
        spark,
        [
            _event("u", "a", 0, "view"),
            _event("u", "b", 1, "view"),
            _event("u", "v", 2, "view"),
            _event("u", "a", 3, "purchase"),  # after the validation item was first met
            _event("u", "v", 4, "wishlist"),
            _event("u", "t", 5, "view"),
            _event("u", "v", 6, "purchase"),  # after the test item was first met
            _event("u", "b", 7, "purchase"),
            _event("u", "t", 8, "purchase"),
        ],
    )
    assert parts == {
        ("u", "a", "view", 0): "train",
        ("u", "b", "view", 1): "train",
        ("u", "v", "view", 2): "validation",
        ("u", "a", "purchase", 3): None,
        ("u", "v", "wishlist", 4): "validation",
        ("u", "t", "view", 5): "test",
        ("u", "v", "purchase", 6): None,
        ("u", "b", "purchase", 7): None,
        ("u", "t", "purchase", 8): "test",
    }


@pytest.mark.parametrize(
    ("items", "min_train", "expected"),
    [
        ("ab", 1, {"train": 2}),
        ("abc", 1, {"train": 1, "validation": 1, "test": 1}),
        ("abc", 2, {"train": 3}),
        ("abcd", 2, {"train": 2, "validation": 1, "test": 1}),
    ],
)
def test_short_histories_are_not_split(
    spark: SparkSession, items: str, min_train: int, expected: dict[str, int]
) -> None:
    # A second event of the first item must not count as a further item.
    events = [_event("u", item, minute) for minute, item in enumerate(items)] + [_event("u", "a", 0, "view")]
    parts = list(_parts(spark, events, SplitSettings(min_train_events=min_train)).values())
    assert {part: parts.count(part) - (part == "train") for part in set(parts)} == expected


def test_policy_none_holds_nothing_out(spark: SparkSession) -> None:
    events = _frame(spark, [_event("u", item, minute) for minute, item in enumerate("abcd")])
    split = SplitSettings(policy="none")
    assert training_events(events, split).count() == 4
    assert validation_events(events, split).count() == 0
    assert split_module.test_events(events, split).count() == 0


def test_ties_keep_every_item_and_follow_no_identifier(spark: SparkSession) -> None:
    # 40 clients with five items at one instant: by identifier, every client would lose the same item.
    events = [_event(f"u{number}", item, 0) for number in range(40) for item in "abcde"]
    parts = _parts(spark, events)
    assert sorted(parts.values()).count("train") == 120
    held_out = dict.fromkeys("abcde", 0)
    for (_, item, _, _), part in parts.items():
        held_out[item] += part == "test"
    assert sum(held_out.values()) == 40
    assert max(held_out.values()) < 20


def test_order_and_partitions_of_rows_do_not_matter(spark: SparkSession) -> None:
    chance = random.Random(3)
    events = list(
        {
            (user, item, kind, minute): _event(user, item, minute, kind)
            for user, item, kind, minute in (
                (
                    f"u{chance.randrange(6)}",
                    f"i{chance.randrange(9)}",
                    chance.choice(["view", "purchase"]),
                    chance.randrange(12),
                )
                for _ in range(200)
            )
        }.values()
    )
    expected = _parts(spark, events)
    shuffled = chance.sample(events, len(events))
    rows = with_part(_frame(spark, shuffled).repartition(5), _LEAVE_ONE_OUT).selectExpr(
        "user_id", "item_id", "event_type", "cast(unix_timestamp(ts) / 60 - 28401120 as int) as m", "part"
    )
    assert {(r.user_id, r.item_id, r.event_type, r.m): r.part for r in rows.collect()} == expected
    held_out = {(u, i): part for (u, i, _, _), part in expected.items() if part in ("validation", "test")}
    assert not [key for key, part in expected.items() if part == "train" and key[:2] in held_out]
