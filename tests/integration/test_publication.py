"""A night is seen when its gates hold and not before, on lists written by hand."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from isrf_pipeline.config import Settings
from isrf_pipeline.config.settings import GateSettings, RulesSettings
from isrf_pipeline.errors import InputRefusedError, QualityGateError, UsageError
from isrf_pipeline.gates.drift import item_drift, population_stability, score_drift
from isrf_pipeline.gates.recent import recent_accuracy
from isrf_pipeline.lake import Lake, tables
from isrf_pipeline.publication.publishing import roll_back
from isrf_pipeline.publication.record import current_night, publications, require_published
from isrf_pipeline.stages.context import StageContext
from isrf_pipeline.stages.registry import load_stage

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

FIRST, SECOND, THIRD = (datetime.date(2026, 6, day) for day in (28, 29, 30))
CLIENTS = [f"u{number}" for number in range(10)]
ITEMS = [f"i{number}" for number in range(20)]


def at(day: datetime.date, hour: int = 12) -> datetime.datetime:
    return datetime.datetime(day.year, day.month, day.day, hour, tzinfo=datetime.UTC)


def lists(night: datetime.date, clients: list[str], first: int = 0) -> list[tuple[Any, ...]]:
    """Two places a client, of items that differ from client to client."""
    return [
        (
            *(night, client, rank, ITEMS[(first + place + rank) % len(ITEMS)], 1.0 / rank + place / 100),
            *(1.0, 0.0, "Goes with it.", [], None, None),
        )
        for place, client in enumerate(clients)
        for rank in (1, 2)
    ]


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    return Settings.model_validate(
        {
            "lake": {"root": str(tmp_path_factory.mktemp("publication") / "lake")},
            "split": {"policy": "none"},
            "gates": {"max_data_age_days": 2, "min_recent_clients": 1},
        }
    )


@pytest.fixture(scope="module")
def lake(spark: SparkSession, settings: Settings) -> Lake:
    """Three nights: the first is published, the second stopped and mended, the third published; then rolled back."""
    lake = Lake(spark, settings.lake)

    def fill(table: Any, rows: list[tuple[Any, ...]]) -> None:
        lake.overwrite(table, spark.createDataFrame(rows, table.ddl()))

    fill(tables.CLIENTS, [(client, {}, True) for client in CLIENTS])
    fill(
        tables.ITEMS,
        [(item, item, "A", ["bags"], None, 1.0, {}, item != "i19", None, "0" * 64) for item in ITEMS],
    )
    fill(tables.INTERACTIONS, [("u0", "i9", "purchase", at(FIRST), 1.0, "r1")])
    fill(
        tables.INTEREST_MODEL,
        [(night, 0, 0.1, 0.1, 0.0, 0.7, 1.0, 0.0, 0.6, "fusion", 0.1) for night in NIGHTS],
    )
    for table in (
        tables.SEGMENTS,
        tables.SEGMENT_MEMBERS,
        tables.RELATED_ITEMS,
        tables.HERO_ITEMS,
        tables.AUDIENCES,
    ):
        lake.create(table.pending)
    return lake


NIGHTS = (FIRST, SECOND, THIRD)


def evaluate(
    lake: Lake, settings: Settings, night: datetime.date, rows: list[tuple[Any, ...]], run_id: str
) -> None:
    ctx = StageContext(lake.spark, settings, lake, night, run_id)
    ctx.write(tables.RECOMMENDATIONS, lake.spark.createDataFrame(rows, tables.RECOMMENDATIONS.ddl()))
    load_stage("evaluate").run(ctx)


def seen(lake: Lake) -> set[datetime.date]:
    return {row[0] for row in lake.read(tables.RECOMMENDATIONS).select("run_date").distinct().collect()}


def test_nights_are_seen_only_when_their_gates_hold(lake: Lake, settings: Settings) -> None:
    evaluate(lake, settings, FIRST, lists(FIRST, CLIENTS), "r1")
    assert current_night(lake) == FIRST
    assert {row["gate"] for row in lake.read(tables.GATES).where("passed").collect()} == {
        "client_coverage",
        "unavailable_items",
        "data_age_days",
    }

    # A night with half of the clients, one article that is sold out, and new events that came from nowhere.
    short = [*lists(SECOND, CLIENTS[:5]), (SECOND, "u0", 3, "i19", 0.1, 1.0, 0.0, "", [], None, None)]
    blocked = RulesSettings.model_validate({"exclude": {"items": ["i19"]}, "measured": False})
    with pytest.raises(QualityGateError) as stopped:
        evaluate(lake, settings.model_copy(update={"rules": blocked}), SECOND, short, "r2")
    said = str(stopped.value)
    assert "client_coverage is 0.5, below the least allowed 0.9 (5 of 10 clients have a list" in said
    assert "unavailable_items is 1, above the most allowed 0" in said
    assert "excluded_items is 1, above the most allowed 0" in said
    assert current_night(lake) == FIRST
    assert seen(lake) == {FIRST}
    page = Path(settings.lake.root) / "exports" / "stopped" / f"{SECOND}.html"
    assert "Not published: client coverage is 0.500 and must be at least 0.900" in page.read_text(
        encoding="utf-8"
    )
    with pytest.raises(
        InputRefusedError, match=r"night 2026-06-29: is not published; run the stage evaluate"
    ):
        require_published(lake, SECOND)

    # The same night, mended: u1 has bought what the first night listed, u2 something else.
    lake.append(
        tables.INTERACTIONS,
        lake.spark.createDataFrame(
            [
                ("u1", "i2", "purchase", at(SECOND), 1.0, "r2"),
                ("u2", "i12", "purchase", at(SECOND), 1.0, "r2"),
            ],
            tables.INTERACTIONS.ddl(),
        ),
    )
    evaluate(lake, settings, SECOND, lists(SECOND, CLIENTS), "r3")
    assert current_night(lake) == SECOND
    assert seen(lake) == {FIRST, SECOND}
    rate = lake.read(tables.METRICS).where("metric = 'recent.hit_rate'").first()
    assert rate is not None and rate["value"] == 0.5

    # Publishing a night again, as a repeated run does, leaves the same rows and is the current night again.
    before = sorted(
        map(tuple, lake.read(tables.RECOMMENDATIONS).where(f"run_date = '{SECOND}'").collect()), key=str
    )
    evaluate(lake, settings, SECOND, lists(SECOND, CLIENTS), "r4")
    after = sorted(
        map(tuple, lake.read(tables.RECOMMENDATIONS).where(f"run_date = '{SECOND}'").collect()), key=str
    )
    assert before == after

    # What waits is the newest night only: earlier ones are published, or nobody waits for them.
    waiting = lake.read(tables.RECOMMENDATIONS.pending).select("run_date").distinct().collect()
    assert [row[0] for row in waiting] == [SECOND]

    # Everybody is offered other articles than before: the drift of items stops the third night.
    with pytest.raises(
        QualityGateError, match=r"item_drift is .*\(against 2 nights from 2026-06-28 to 2026-06-29"
    ):
        evaluate(lake, settings, THIRD, lists(THIRD, CLIENTS, first=8), "r5")
    assert current_night(lake) == SECOND

    roll_back(lake, FIRST, "r6")
    assert current_night(lake) == FIRST
    assert [(row["sequence"], row["run_date"], row["action"]) for row in publications(lake)] == [
        (4, FIRST, "rolled back"),
        (3, SECOND, "published"),
        (2, SECOND, "published"),
        (1, FIRST, "published"),
    ]
    # An older night that is published now stands beside the current one and does not take its place.
    older = FIRST - datetime.timedelta(days=1)
    ungated = settings.model_copy(update={"gates": GateSettings(max_item_drift=None)})
    evaluate(lake, ungated, older, lists(older, CLIENTS), "r7")
    assert current_night(lake) == FIRST
    assert older in seen(lake)

    with pytest.raises(
        UsageError, match=r"--run-date 2026-06-30: was never published; choose a published night"
    ):
        roll_back(lake, THIRD, "r7")


def test_drift_by_hand(spark: SparkSession) -> None:
    scores = spark.range(100).selectExpr("id / 100 AS score")
    assert score_drift(scores, scores) == pytest.approx(0)
    # All of the highest tenth: nine groups are empty now.
    expected = population_stability(dict.fromkeys(range(10), 1), {9: 1})
    assert score_drift(scores, scores.where("score > 0.9")) == pytest.approx(expected)
    assert score_drift(scores, scores.limit(0)) is None
    shown = spark.createDataFrame([(f"i{k}",) for k in range(10)], "item_id string")
    assert item_drift(shown, shown) == pytest.approx(0)
    # Half of the places are taken by an item that was in no list.
    half = shown.union(spark.createDataFrame([("new",)] * 10, "item_id string"))
    expected = population_stability(dict.fromkeys(range(10), 1), {**dict.fromkeys(range(10), 1), -1: 10})
    assert item_drift(shown, half) == pytest.approx(expected)


def test_recent_accuracy_by_hand(spark: SparkSession) -> None:
    shown = spark.createDataFrame(
        [("u1", "a"), ("u1", "b"), ("u2", "a"), ("u3", "a")], "user_id string, item_id string"
    )
    events = spark.createDataFrame(
        [
            ("u1", "a", "purchase", at(FIRST, 23)),  # known when the list was made
            ("u1", "a", "purchase", at(SECOND)),  # so no new choice
            ("u1", "b", "purchase", at(SECOND)),
            ("u2", "c", "purchase", at(SECOND)),
            ("u3", "a", "view", at(SECOND)),
            ("u9", "a", "purchase", at(SECOND)),  # has no list
        ],
        "user_id string, item_id string, event_type string, ts timestamp",
    )
    assert recent_accuracy(shown, events, FIRST, ["purchase"]) == (2, 1)
    assert recent_accuracy(shown, events, FIRST, []) == (3, 2)
