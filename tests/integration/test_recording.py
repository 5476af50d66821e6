"""Answers written elsewhere, item by item, on their way through the backend replay."""

from __future__ import annotations

import datetime
import gzip
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from isrf_pipeline.config import Settings
from isrf_pipeline.errors import InputRefusedError, UsageError
from isrf_pipeline.lake import Lake, tables
from isrf_pipeline.reasoning.items import item_subjects, semantic_features
from isrf_pipeline.reasoning.recording import record_by_item
from isrf_pipeline.reasoning.waves import reason_over
from isrf_pipeline.stages.context import StageContext

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

pytestmark = pytest.mark.spark

NIGHT = datetime.date(2026, 3, 1)
FEATURE = "Modern peony-rose with dark amber; feminine-meets-tailored thirty-something, vegan sympathies"
TAGS = ["rose scent", "amber scent", "cruelty-free", "designer fragrance", "women's fragrance"]


def settings(lake: Lake, recording: Path, mode: str = "free") -> Settings:
    return Settings.model_validate(
        {
            "lake": {"root": lake.root},
            "reasoning": {
                "backend": "replay",
                "mode": mode,
                "replay": {"path": str(recording)},
                "engine": {"model": "large"},
                "max_failed_share": 1.0,
            },
        }
    )


@pytest.fixture
def catalogue(spark: SparkSession, lake: Lake) -> Lake:
    """A lake that holds articles and nothing else: no event, no client. Two articles read alike."""
    titles = {"rose": "Rose Water", "twin": "Rose Water", "soap": "Black Soap", "comb": "Wooden Comb"}
    rows = [
        (item, title, "House", ["Beauty"], None, 20.0, {}, True, None, "x") for item, title in titles.items()
    ]
    lake.overwrite(tables.ITEMS, spark.createDataFrame(rows, tables.ITEMS.ddl()))
    return lake


def answer(item: str, **changes: Any) -> str:
    fields = {"item_id": item, "feature": FEATURE, "not_for": "fruity gourmand teens", "tags": TAGS}
    return json.dumps(fields | changes)


def written(path: Path, *lines: str) -> Path:
    with gzip.open(path, "wt", encoding="utf-8") as file:
        file.write("\n".join(lines) + "\n")
    return path


def test_answers_by_item_become_features_and_what_breaks_a_rule_is_counted(
    catalogue: Lake, tmp_path: Path
) -> None:
    source = written(
        tmp_path / "answers.jsonl.gz",
        answer("rose"),
        answer("twin", feature="Another text of the very same prompt; whoever comes second"),
        answer("soap", feature=" ".join(["word"] * 26)),
        answer("soap", feature="zz sorted behind the other line of this article"),
        answer("gone"),
        '{"item_id": "comb", "tags": "no list"}',
        "no json",
    )
    recording = tmp_path / "recording.jsonl"
    configured = settings(catalogue, recording)
    # The converter is given the catalogue alone, and this lake holds nothing else that it could read.
    assert not catalogue.exists(tables.INTERACTIONS) and not catalogue.exists(tables.CLIENTS)
    found = record_by_item(catalogue.read(tables.ITEMS), source, configured.reasoning, recording)
    assert (found.lines, found.malformed, found.repeated, found.unknown) == (7, 2, 1, 1)
    assert (found.shared, found.recorded) == (1, 2)
    assert found.refusals == {"unparsable answer": 1}

    ctx = StageContext(catalogue.spark, configured, catalogue, NIGHT, "run")
    items = catalogue.read(tables.ITEMS)
    features = semantic_features(items, reason_over(ctx, "item", item_subjects(items), None))
    rows = {row.item_id: row for row in features.collect()}
    for item in ("rose", "twin"):
        row = rows[item]
        assert (row.origin, row.feature, row.tags) == ("llm", FEATURE, TAGS)
        assert (row.who_for, row.who_not_for) == (None, "fruity gourmand teens")
    assert rows["soap"].feature is None and rows["soap"].reason.startswith(
        "item.free: unparsable answer (feature:"
    )
    assert rows["comb"].reason == "item.free: not among the recorded answers"
    models = {row.model for row in catalogue.read(tables.ANSWERS).collect()}
    assert models == {"large"}, "answers of elsewhere go by the model's name that the settings give them"


def test_forms_of_the_small_model_are_not_relaxed_for_answers_from_elsewhere(
    catalogue: Lake, tmp_path: Path
) -> None:
    source = written(tmp_path / "answers.jsonl.gz", answer("rose"))
    configured = settings(catalogue, tmp_path / "recording.jsonl", "single")
    found = record_by_item(
        catalogue.read(tables.ITEMS), source, configured.reasoning, tmp_path / "recording.jsonl"
    )
    assert (found.recorded, found.refusals) == (1, {"unparsable answer": 1})


def test_what_cannot_be_recorded_is_said(catalogue: Lake, tmp_path: Path) -> None:
    items, target = catalogue.read(tables.ITEMS), tmp_path / "recording.jsonl"
    with pytest.raises(InputRefusedError, match="does not exist"):
        record_by_item(items, tmp_path / "nowhere.jsonl", settings(catalogue, target).reasoning, target)
    source = written(tmp_path / "answers.jsonl.gz", answer("rose"))
    with pytest.raises(UsageError, match="in several steps"):
        record_by_item(items, source, settings(catalogue, target, "chained").reasoning, target)
    assert not target.exists()
