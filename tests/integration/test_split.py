"""The split: golden histories, leaks that it must not have, and independence of the order of rows."""

from __future__ import annotations

import datetime
import random
from typing import TYPE_CHECKING, Any

import pytest

from isrf_pipeline.config.settings import SplitSettings
from isrf_pipeline.errors import InputRefusedError
from isrf_pipeline.evaluation import split as split_module
from isrf_pipeline.evaluation.split import (
    events_before_test,
    listing_day,
    require_held_out_events,
    training_events,
    validation_events,
    with_part,
)

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


_DAY = 24 * 60
_BY_TIME = SplitSettings(policy="temporal", validation_from="2024-01-11", test_from="2024-01-21")


def test_temporal_split_by_hand(spark: SparkSession) -> None:
    parts = _parts(
        spark,
        [
            _event("u", "a", 0),
            _event("u", "b", 10 * _DAY - 1, "view"),
            _event("u", "a", 10 * _DAY),  # not new: known at test time, fitted on by nothing
            _event("u", "v", 11 * _DAY, "view"),
            _event("u", "w", 12 * _DAY),  # the second new item of the window
            _event("u", "v", 13 * _DAY),
            _event("u", "w", 20 * _DAY),  # not new in the test window
            _event("u", "t", 21 * _DAY, "view"),
            _event("u", "s", 22 * _DAY),
            _event("u", "v", 23 * _DAY),
            _event("u", "t", 24 * _DAY),
            # Nobody knew this client before the test window, nor that one after the training window.
            _event("new", "a", 20 * _DAY),
            _event("gone", "b", 3 * _DAY),
        ],
        _BY_TIME,
    )
    assert parts == {
        ("u", "a", "purchase", 0): "train",
        ("u", "b", "view", 10 * _DAY - 1): "train",
        ("u", "a", "purchase", 10 * _DAY): "known",
        ("u", "v", "view", 11 * _DAY): "validation",
        ("u", "w", "purchase", 12 * _DAY): "known",
        ("u", "v", "purchase", 13 * _DAY): "validation",
        ("u", "w", "purchase", 20 * _DAY): None,
        ("u", "t", "view", 21 * _DAY): "test",
        ("u", "s", "purchase", 22 * _DAY): None,
        ("u", "v", "purchase", 23 * _DAY): None,
        ("u", "t", "purchase", 24 * _DAY): "test",
        ("new", "a", "purchase", 20 * _DAY): "test",
        ("gone", "b", "purchase", 3 * _DAY): "train",
    }


def test_every_reader_of_parts_works_with_the_temporal_split(spark: SparkSession) -> None:
    events = _frame(
        spark, [_event("u", item, day * _DAY) for item, day in zip("abvwt", (0, 1, 12, 13, 25), strict=True)]
    )
    assert {row[1] for row in _minutes(training_events(events, _BY_TIME))} == {"a", "b"}
    assert {row[1] for row in _minutes(validation_events(events, _BY_TIME))} == {"v"}
    assert {row[1] for row in _minutes(split_module.test_events(events, _BY_TIME))} == {"t"}
    assert {row[1] for row in _minutes(events_before_test(events, _BY_TIME))} == {"a", "b", "v", "w"}


def test_windows_by_share_are_whole_days(spark: SparkSession) -> None:
    # 10 days of two events each; 20 % of the events are the last two days, 10 % before them the eighth.
    events = [_event(f"u{day}{half}", "a", day * _DAY + half * 60) for day in range(10) for half in range(2)]
    split = SplitSettings(policy="temporal", validation_share=0.1, test_share=0.2)
    days: dict[str, set[int]] = {}
    for (_, _, _, minute), part in _parts(spark, events, split).items():
        days.setdefault(part, set()).add(minute // _DAY)
    assert days == {"train": set(range(7)), "validation": {7}, "test": {8, 9}}
    first = (datetime.date(2024, 1, 1) - datetime.date(1970, 1, 1)).days
    told = SplitSettings(policy="temporal", validation_from="2024-01-08", test_from="2024-01-09")
    for way in (split, told):
        assert listing_day(_frame(spark, events), way, "validation") == first + 7
        assert listing_day(_frame(spark, events), way, "test") == first + 8
    assert listing_day(_frame(spark, events), _LEAVE_ONE_OUT, "test") is None


def test_a_set_without_dates_is_refused_by_the_temporal_split(spark: SparkSession) -> None:
    events = _frame(spark, [_event("u", item, minute) for minute, item in enumerate("abcde")])
    with pytest.raises(
        InputRefusedError, match="no test event is left of events from 2024-01-01 to 2024-01-01"
    ):
        require_held_out_events(events, SplitSettings(policy="temporal"))
    require_held_out_events(events, _LEAVE_ONE_OUT)
    late = SplitSettings(policy="temporal", validation_from="2020-01-01", test_from="2024-01-01")
    with pytest.raises(InputRefusedError, match="no train event is left"):
        require_held_out_events(events, late)


@pytest.mark.parametrize("policy", ["leave_one_out", "temporal"])
def test_of_unseen_clients_nothing_is_fitted_on_but_their_history_is_known(
    spark: SparkSession, policy: str
) -> None:
    shared = {"policy": policy, "validation_from": "2024-01-03", "test_from": "2024-01-04"}
    seen, unseen = (SplitSettings.model_validate({**shared, "unseen_clients": share}) for share in (0, 0.3))
    events = [
        _event(f"u{number}", item, day * _DAY) for number in range(200) for day, item in enumerate("abcd")
    ]
    before, after = _parts(spark, events, seen), _parts(spark, events, unseen)
    drawn = {key[0] for key, part in after.items() if part == "known"}
    # A share of 30 % of 200 clients, within three standard errors.
    assert 40 < len(drawn) < 80
    for key, part in before.items():
        expected = "known" if key[0] in drawn and part in ("train", "validation") else part
        assert after[key] == expected
    frame = _frame(spark, events)
    assert drawn.isdisjoint(row[0] for row in _minutes(training_events(frame, unseen)))
    assert drawn.isdisjoint(row[0] for row in _minutes(validation_events(frame, unseen)))
    assert _minutes(events_before_test(frame, unseen)) == _minutes(events_before_test(frame, seen))
    assert _minutes(split_module.test_events(frame, unseen)) == _minutes(
        split_module.test_events(frame, seen)
    )
