"""Leaks from end to end: a small research set goes through the stages, and again after changes that must not matter.

Under leave-one-out the events after the split point are the clients' test events. Validation events choose settings by
design, so they stay; what is fitted from them is covered by the tests of the split.
"""

from __future__ import annotations

import csv
import datetime
import gzip
import io
import json
import random
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from isrf_pipeline.config import Settings
from isrf_pipeline.demo import generate_research_set
from isrf_pipeline.embedding import encoder
from isrf_pipeline.lake import Lake, Table, tables
from isrf_pipeline.stages import build_interaction_graph
from isrf_pipeline.stages.context import StageContext
from isrf_pipeline.stages.registry import load_stage

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import DataFrame, SparkSession

pytestmark = [pytest.mark.spark, pytest.mark.slow]

NIGHT = datetime.date(2026, 1, 1)
FIT = (
    "ingest",
    "reason_items",
    "build_interaction_graph",
    "reason_users",
    "build_user_graph",
    "optimize",
)
FITTED = (
    tables.ITEM_FEATURES,
    tables.USER_FEATURES,
    tables.VERTICES,
    tables.EDGES,
    tables.FIELD_WEIGHTS,
    tables.PROFILE_WEIGHTS,
    tables.PROFILES,
    tables.SIMILARITY,
    tables.INTEREST_MODEL,
    tables.INTEREST_PARAMETERS,
)
#: The fixed fusion of what is computed in closed form: nothing in it is drawn at random item by item.
PLAIN = {"optimize": {"scorers": ["followed", "semantic", "group"]}, "ranker": {"enabled": False}}

Event = dict[str, str]


@dataclass(frozen=True)
class Research:
    """Files of a research set, as rows."""

    events: list[Event]
    items: list[dict[str, Any]]

    @classmethod
    def read(cls, folder: Path) -> Research:
        with gzip.open(folder / "interactions.csv.gz", "rt", encoding="utf-8") as lines:
            events = list(csv.DictReader(lines))
        with gzip.open(folder / "items.jsonl.gz", "rt", encoding="utf-8") as lines:
            return cls(events, [json.loads(line) for line in lines])

    def write(self, folder: Path) -> Path:
        folder.mkdir()
        out = io.StringIO()
        writer = csv.DictWriter(out, list(self.events[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(self.events)
        (folder / "interactions.csv.gz").write_bytes(gzip.compress(out.getvalue().encode()))
        text = "".join(json.dumps(item) + "\n" for item in self.items)
        (folder / "items.jsonl.gz").write_bytes(gzip.compress(text.encode()))
        return folder

    def before_the_last_events(self) -> Research:
        """The night before: no client's last event is known, nor the articles that nobody else has."""
        last = {row["user_id"]: row for row in self.events}
        events = [row for row in self.events if last[row["user_id"]] is not row]
        known = {row["item_id"] for row in events}
        return Research(events, [item for item in self.items if item["item_id"] in known])

    def shuffled(self) -> Research:
        chance = random.Random(11)
        return Research(
            chance.sample(self.events, len(self.events)), chance.sample(self.items, len(self.items))
        )

    def renamed(self) -> Research:
        """Identifiers of items and clients exchanged for others whose order is another."""
        chance = random.Random(12)
        new = {}
        for key, names in (
            ("item_id", [item["item_id"] for item in self.items]),
            ("user_id", sorted({event["user_id"] for event in self.events})),
        ):
            numbers = chance.sample(range(len(names)), len(names))
            new[key] = {name: f"{number:06}" for name, number in zip(names, numbers, strict=True)}
        events = [{**row, **{key: names[row[key]] for key, names in new.items()}} for row in self.events]
        return Research(events, [{**row, "item_id": new["item_id"][row["item_id"]]} for row in self.items])

    def with_other_test_events(self) -> Research:
        """Each client's last event is of another item, on another day that is no earlier."""
        chance = random.Random(13)
        catalogue = [item["item_id"] for item in self.items]
        by_client: dict[str, list[Event]] = {}
        for row in self.events:
            by_client.setdefault(row["user_id"], []).append(row)
        events = []
        for rows in by_client.values():
            had = {row["item_id"] for row in rows}
            day = datetime.date.fromisoformat(rows[-2]["event_date"])
            later = day + datetime.timedelta(days=chance.randrange(400))
            item = chance.choice([item for item in catalogue if item not in had])
            events += [*rows[:-1], {**rows[-1], "item_id": item, "event_date": later.isoformat()}]
        return Research(events, self.items)


@dataclass(frozen=True)
class Night:
    """A lake after some stages."""

    spark: SparkSession
    settings: Settings
    date: datetime.date = NIGHT

    @property
    def lake(self) -> Lake:
        return Lake(self.spark, self.settings.lake)

    def run(self, *stages: str) -> Night:
        for name in stages:
            load_stage(name).run(StageContext(self.spark, self.settings, self.lake, self.date, "run"))
            self.spark.catalog.clearCache()
        return self

    def with_settings(self, changes: dict[str, dict[str, Any]]) -> Night:
        told = self.settings.model_dump()
        for section, values in changes.items():
            told[section] |= values
        return Night(self.spark, Settings.model_validate(told), self.date)

    def copied(self, root: Path) -> Night:
        shutil.copytree(self.settings.lake.root, root)
        return self.with_settings({"lake": {"root": str(root)}})

    def contents(self, table: Table) -> pa.Table:
        rows = self.lake.read(table).toArrow()
        return rows.sort_by([(name, "ascending") for name in table.key])

    def figures(self) -> dict[str, float]:
        rows = (
            self.lake.read(tables.METRICS).where("metric LIKE 'evaluate.isrf.%' AND slice = 'all'").collect()
        )
        return {row["metric"].removeprefix("evaluate.isrf."): row["value"] for row in rows}


def differing(one: Night, other: Night, of: tuple[Table, ...] = FITTED) -> list[str]:
    """Names of tables whose rows differ in any bit."""
    return [table.name for table in of if not one.contents(table).equals(other.contents(table))]


def word_vectors(texts: DataFrame, settings: object, encoders: int) -> DataFrame:
    """Vectors from hashes of a text's words, in place of the encoder, which takes longer to load than all of it."""
    from pyspark.sql import functions as F

    words = F.split("text", r"\W+")
    raw = F.transform(
        F.sequence(F.lit(1), F.lit(24)),
        lambda place: F.aggregate(
            F.transform(words, lambda word: F.pmod(F.xxhash64(word, place), F.lit(2001)) / 1000.0 - 1.0),
            F.lit(0.0),
            lambda total, value: total + value,
        ),
    )
    length = F.sqrt(F.aggregate("raw", F.lit(0.0), lambda total, value: total + value * value))
    unit = F.transform("raw", lambda value: (value / F.col("length")).cast("float"))
    return (
        texts.withColumn("raw", raw).withColumn("length", length).select("text_hash", unit.alias("embedding"))
    )


@pytest.fixture(scope="module")
def research(tmp_path_factory: pytest.TempPathFactory) -> Research:
    folder = tmp_path_factory.mktemp("leaks") / "original"
    generate_research_set(folder, users=300, items=120, seed=3)
    return Research.read(folder)


@pytest.fixture(scope="module")
def night_of(
    spark: SparkSession, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[Research], Night]]:
    def make(research: Research) -> Night:
        folder = tmp_path_factory.mktemp("night")
        settings = {
            "lake": {"root": str(folder / "lake")},
            "ingest": {"research": {"path": str(research.write(folder / "files"))}},
            "reasoning": {"backend": "none"},
            "embedding": {"cache": False},
            "user_graph": {"segments": False, "neighbours": 20},
            "optimize": {
                "rounds": 2,
                "patience": 1,
                "scorers": ["followed", "semantic", "sequence", "group", "generator"],
            },
            "generator": {
                "levels": 2,
                "codes": 6,
                "width": 16,
                "heads": 2,
                "epochs": 1,
                "further_epochs": 1,
                "beam": 10,
            },
            "sequence": {"width": 16, "epochs": 6, "further_epochs": 2, "negatives": 64},
            "ranker": {
                "trees": 30,
                "min_leaf": 20,
                "by_fusion": 40,
                "by_scorer": 10,
                "min_standard_errors": 0,
            },
            "recommend": {"input": "before_test", "exclude_seen": [], "candidates": 60},
        }
        return Night(spark, Settings.model_validate(settings))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(encoder, "_encoded", word_vectors)
        yield make


@pytest.fixture(scope="module")
def original(research: Research, night_of: Callable[[Research], Night]) -> Night:
    return night_of(research).run(*FIT, "recommend")


@pytest.fixture(scope="module")
def with_other_test_events(research: Research, night_of: Callable[[Research], Night]) -> Night:
    return night_of(research.with_other_test_events().shuffled()).run(*FIT, "recommend")


def test_other_test_events_and_another_order_leave_everything_fitted_as_it_was(
    original: Night, with_other_test_events: Night
) -> None:
    # The set is large enough for everything to be trained.
    trained = original.contents(tables.INTEREST_PARAMETERS).column("part").to_pylist()
    assert {*trained} == {"sequence", "generator", "ranker"}
    events = (tables.INTERACTIONS,)
    assert differing(original, with_other_test_events, events) == ["silver.interactions"]
    assert differing(original, with_other_test_events) == []
    # Lists are computed from what precedes the test events, so they stay too.
    assert differing(original, with_other_test_events, (tables.RECOMMENDATIONS.pending,)) == []


def test_a_planted_leak_is_caught(
    original: Night, with_other_test_events: Night, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(build_interaction_graph, "training_events", lambda interactions, split: interactions)
    one, other = (
        night.copied(tmp_path / str(place)).run("build_interaction_graph")
        for place, night in enumerate((original, with_other_test_events))
    )
    assert differing(one, other) == ["graph.edges"]


def test_identifiers_mean_nothing(
    research: Research, original: Night, night_of: Callable[[Research], Night], tmp_path: Path
) -> None:
    """Renumbered items and renamed clients give the same figures up to sums of other order and equal scores.

    Equal scores are ordered by item code, and equally similar clients by a hash of their identifier: two of 300
    clients may gain or lose a place by that. What is trained by sampling (the sequence model draws the start of each
    item's identity and the items it is told from by code; the ranker bags its rows by position) is left out.
    """
    plain = original.copied(tmp_path / "plain").with_settings(PLAIN)
    before = plain.run("optimize", "recommend", "evaluate").figures()
    renamed = night_of(research.renamed().shuffled()).with_settings(PLAIN)
    after = renamed.run(*FIT, "recommend", "evaluate").figures()
    assert before["HR@10"] > 0.2
    assert after == pytest.approx(before, abs=2 / 300)


def test_a_sequence_of_nights_ends_in_the_tables_of_a_single_one(
    research: Research, original: Night, night_of: Callable[[Research], Night], tmp_path: Path
) -> None:
    """What a night leaves does not depend on the nights before it, caches and all."""
    cached = {**PLAIN, "embedding": {"cache": True}}
    single = original.copied(tmp_path / "single").with_settings(cached).run("optimize", "recommend")
    before = night_of(research.before_the_last_events()).with_settings(cached)
    Night(before.spark, before.settings, NIGHT - datetime.timedelta(days=1)).run(
        *FIT, "recommend", "evaluate"
    )
    assert before.lake.read(tables.EDGES).count() != single.lake.read(tables.EDGES).count()
    source = before.settings.ingest.research
    assert source is not None
    shutil.rmtree(source.path)
    research.write(Path(source.path))
    after = before.run(*FIT, "recommend")
    per_night = (tables.INTEREST_MODEL, tables.INTEREST_PARAMETERS)
    assert differing(single, after, tuple(table for table in FITTED if table not in per_night)) == []
    assert differing(single, after, (tables.RECOMMENDATIONS.pending, tables.RELATED_ITEMS.pending)) == []
