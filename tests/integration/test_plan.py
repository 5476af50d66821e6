"""What is planned for a lake that no model was ever asked about."""

from __future__ import annotations

import datetime
from typing import TYPE_CHECKING

import pytest

from isrf_pipeline.cli.plan import planned
from isrf_pipeline.config import Settings
from isrf_pipeline.environment.model import default_model_path
from isrf_pipeline.lake import Lake, tables
from isrf_pipeline.reasoning.plan import SubjectPlan
from isrf_pipeline.stages.context import StageContext

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

pytestmark = pytest.mark.spark

NIGHT = datetime.date(2026, 3, 1)
N_ITEMS, N_CLIENTS = 10, 20


@pytest.fixture
def ingested(spark: SparkSession, lake: Lake) -> Lake:
    """Ten items, each with a text of its own, and twenty clients, each with a history of his own."""
    items = [
        (f"i{n}", f"Thing {n}", "House", ["Things"], None, 10.0, {}, True, None, "x") for n in range(N_ITEMS)
    ]
    lake.overwrite(tables.ITEMS, spark.createDataFrame(items, tables.ITEMS.ddl()))
    start = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
    events = [
        (f"u{user}", f"i{item}", "purchase", start + datetime.timedelta(days=user), 1.0, "r")
        for user in range(N_CLIENTS)
        for item in {user % N_ITEMS, (user * 7 + user // N_ITEMS + 3) % N_ITEMS}
    ]
    lake.overwrite(tables.INTERACTIONS, spark.createDataFrame(events, tables.INTERACTIONS.ddl()))
    clients = [(f"u{user}", {}, True) for user in range(N_CLIENTS)]
    lake.overwrite(tables.CLIENTS, spark.createDataFrame(clients, tables.CLIENTS.ddl()))
    return lake


def plans(lake: Lake, model: str, mode: str) -> list[SubjectPlan]:
    settings = Settings.model_validate(
        {
            "lake": {"root": lake.root},
            "reasoning": {"mode": mode, "engine": {"model": model}, "users": {"max_clients": 5}},
            "split": {"policy": "none"},
        }
    )
    return planned(StageContext(lake.spark, settings, lake, NIGHT, "plan"))


def test_clients_are_planned_before_any_item_has_a_feature(ingested: Lake) -> None:
    items, users = plans(ingested, "bundled", "single")
    assert (items.rows, items.to_do, items.beyond) == (N_ITEMS, N_ITEMS, 0)
    assert (users.rows, users.to_do, users.beyond) == (N_CLIENTS, 5, N_CLIENTS - 5)
    # 1.02 calls and 93.8 tokens an article, 1.60 and 174.3 a client: what the demo took.
    assert (items.total("calls"), items.total("tokens_out")) == (10, 938)
    assert (users.total("calls"), users.total("tokens_out")) == (8, 872)
    assert users.total("tokens_in") > 8 * 300
    assert items.seconds is None


def test_dead_letters_of_a_step_have_no_next_one(ingested: Lake) -> None:
    items, _ = plans(ingested, "bundled", "chained")
    # 10 articles, 88 % of them go on to the second step, 10 % of these to the third.
    assert [step.calls for step in items.steps] == [11, round(8.8 * 1.9), round(0.88 * 1.11)]


def test_another_model_is_expected_to_answer_well(ingested: Lake) -> None:
    items, _ = plans(ingested, str(default_model_path()), "chained")
    assert [step.calls for step in items.steps] == [N_ITEMS] * 3
