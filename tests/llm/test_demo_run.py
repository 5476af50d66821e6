"""The finished demo: a real engine, real tables, and what they must show."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd
import pytest

from isrf_pipeline.config.settings import LakeSettings
from isrf_pipeline.lake import Lake, tables

if TYPE_CHECKING:
    from conftest import DemoRun
    from pyspark.sql import SparkSession

NIGHT = "2026-06-30"


@pytest.fixture(scope="module")
def demo_lake(spark: SparkSession, demo_run: DemoRun) -> Lake:
    return Lake(spark, LakeSettings(root=str(demo_run.lake_root)))


def test_every_stage_is_recorded_as_done(demo_lake: Lake) -> None:
    rows = {row["stage"]: row for row in demo_lake.read(tables.RUNS).collect()}
    assert set(rows) == {
        "ingest",
        "reason_items",
        "build_interaction_graph",
        "reason_users",
        "build_user_graph",
        "optimize",
        "recommend",
        "evaluate",
        "export",
        "maintain",
    }
    assert {row["status"] for row in rows.values()} == {"done"}
    assert rows["reason_items"]["llm_calls"] > 0
    assert rows["recommend"]["input_versions"]["graph.edges"] >= 0


def test_every_article_has_a_feature_by_the_engine_or_a_reason_why_not(demo_lake: Lake) -> None:
    rows = demo_lake.read(tables.ITEM_FEATURES).toPandas()
    assert len(rows) == demo_lake.read(tables.ITEMS).count()
    by_model = rows[rows["origin"] == "llm"]
    others = rows[rows["origin"] != "llm"]
    assert len(by_model) > 0
    assert by_model["feature"].str.split().str.len().between(1, 25).all()
    assert others["reason"].notna().all()


def test_segments_agree_with_the_planted_groups(
    demo_lake: Lake, demo_run: DemoRun, record_property: Callable[[str, object], None]
) -> None:
    from sklearn.metrics import adjusted_rand_score

    members = demo_lake.read(tables.SEGMENT_MEMBERS).toPandas()
    truth = pd.read_parquet(demo_run.raw / "truth" / "clients.parquet")
    both = members.merge(truth, left_on="user_id", right_on="client_ref")
    index = adjusted_rand_score(both["group"], both["segment_id"])
    record_property(
        "adjusted Rand index of segments and planted groups", f"{index:.3f} over {len(both)} clients"
    )
    assert len(both) > 0.9 * len(truth)
    assert index > 0.6


def test_every_client_has_a_list_with_true_shares(demo_lake: Lake) -> None:
    lists = demo_lake.read(tables.RECOMMENDATIONS).toPandas()
    assert set(lists["user_id"]) == {row["user_id"] for row in demo_lake.read(tables.CLIENTS).collect()}
    assert ((lists["explicit_share"] + lists["implicit_share"]) - 1).abs().max() < 1e-6
    assert (lists["reason"].str.len() > 10).all()
    bought = (
        demo_lake.read(tables.INTERACTIONS)
        .where("event_type = 'purchase'")
        .select("user_id", "item_id")
        .toPandas()
    )
    assert lists.merge(bought, on=["user_id", "item_id"]).empty
    unavailable = {row["item_id"] for row in demo_lake.read(tables.ITEMS).where("NOT available").collect()}
    assert unavailable.isdisjoint(lists["item_id"])


def test_two_rounds_were_measured_and_the_night_beats_its_peers(demo_lake: Lake) -> None:
    metrics = {
        (row["metric"], row["slice"]): row["value"] for row in demo_lake.read(tables.METRICS).collect()
    }
    rounds = {slice_ for metric, slice_ in metrics if metric == "optimize.round.validation_ndcg@10"}
    assert {"round=1", "round=2"} <= rounds
    ours = metrics["evaluate.isrf.NDCG@10", "all"]
    assert ours > metrics["evaluate.popularity.NDCG@10", "all"]
    assert ours > metrics["evaluate.mllib_als.NDCG@10", "all"]


def test_the_command_ends_by_naming_report_and_exports(demo_run: DemoRun) -> None:
    lines = demo_run.printed.strip().splitlines()
    report = Path(lines[-1].removeprefix("report: "))
    assert (demo_run.root / report).is_file()
    assert "crm_recommendations.csv" in demo_run.printed
    assert "fact_recommendation" in demo_run.printed


def test_no_personal_data_is_in_the_report_or_in_prompts(demo_run: DemoRun, demo_lake: Lake) -> None:
    people = pd.read_csv(demo_run.raw / "clients.csv", encoding_errors="replace").dropna(subset=["email"])
    report = next(demo_run.lake_root.rglob("report.html")).read_text(encoding="utf-8")
    assert not any(email in report for email in people["email"])
