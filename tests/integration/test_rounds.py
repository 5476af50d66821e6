"""Rounds on a small lake: the map on Spark and in processes, the trial on validation, a run that dies in between."""

from __future__ import annotations

import datetime
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from isrf_pipeline.alignment.fitting import PAIRS_SCHEMA, fit_map
from isrf_pipeline.config import Settings
from isrf_pipeline.config.settings import AlignmentSettings
from isrf_pipeline.interests import iteration, round_graphs
from isrf_pipeline.interests.aligning import Trial
from isrf_pipeline.interests.chosen import load_model
from isrf_pipeline.interests.progress import Progress
from isrf_pipeline.lake import Lake, Table, tables
from isrf_pipeline.stages import build_user_graph, optimize
from isrf_pipeline.stages.context import StageContext

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

NIGHT = datetime.date(2026, 6, 30)
ITEMS, CLIENTS = 8, 24
TRAINING = AlignmentSettings(rank=3, batch=8, epochs=3)
COMPARED = (
    tables.PROFILES,
    tables.SIMILARITY,
    tables.INTEREST_MODEL,
    tables.INTEREST_PARAMETERS,
    tables.METRICS,
)


def pairs(spark: SparkSession) -> DataFrame:
    generator = np.random.default_rng(0)
    vectors = generator.standard_normal((2, 40, 6)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=2, keepdims=True)
    rows = [(k * 7919 % 40, vectors[0, k].tobytes(), vectors[1, k].tobytes()) for k in range(40)]
    return spark.createDataFrame(rows, PAIRS_SCHEMA)


def test_map_is_the_same_whatever_the_partitioning(spark: SparkSession) -> None:
    one, many = (fit_map(pairs(spark).repartition(n, "tie"), None, TRAINING) for n in (1, 5))
    assert one is not None and many is not None
    assert np.array_equal(one.map.up, many.map.up)
    assert one.loss_after == many.loss_after < one.loss_before
    assert fit_map(pairs(spark).limit(0), None, TRAINING) is None


def test_two_processes_of_torch_distributor_train_one_map(spark: SparkSession) -> None:
    settings = TRAINING.model_copy(update={"processes": 2})
    trained = fit_map(pairs(spark), None, settings)
    alone = fit_map(pairs(spark), None, TRAINING)
    assert trained is not None and alone is not None
    assert trained.loss_before == pytest.approx(alone.loss_before)
    assert trained.loss_after < trained.loss_before
    # Two batches of eight make a step where one made it before.
    assert not np.array_equal(trained.map.up, alone.map.up)


def settings_of(root: Path, ranker: dict[str, Any] | None = None, **changes: Any) -> Settings:
    return Settings.model_validate(
        {
            "lake": {"root": str(root)},
            "user_graph": {"neighbours": 4, "segments": False},
            "ranker": ranker or {"enabled": False},
            "optimize": {
                "scorers": ["followed", "group"],
                "implicit_weights": [0.0, 0.5],
                "min_round_gain": 0.0,
                "alignment": TRAINING.model_dump(),
                **changes,
            },
        }
    )


def context(spark: SparkSession, root: Path, **changes: Any) -> StageContext:
    settings = settings_of(root, **changes)
    return StageContext(spark, settings, Lake(spark, settings.lake), NIGHT, "run-1")


@pytest.fixture(scope="module")
def built(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A lake as optimize finds it: clients who go round the items, each one at a place of his own."""
    root = tmp_path_factory.mktemp("rounds") / "lake"
    ctx = context(spark, root)
    day = datetime.datetime(2026, 1, 1)
    meaning = np.eye(ITEMS, dtype=np.float32) + 0.3 * np.roll(np.eye(ITEMS, dtype=np.float32), 1, axis=1)
    meaning /= np.linalg.norm(meaning, axis=1, keepdims=True)
    rows: list[tuple[Table, list[dict[str, Any]]]] = [
        (
            tables.INTERACTIONS,
            [
                {
                    "user_id": f"u{k:02}",
                    "item_id": f"i{(k + step + step // 3) % ITEMS}",
                    "event_type": "purchase",
                    "ts": day + datetime.timedelta(days=step),
                    "weight": 1.0,
                    "run_id": "run-1",
                }
                for k in range(CLIENTS)
                for step in range(5)
            ],
        ),
        (
            tables.ITEMS,
            [
                {
                    "item_id": f"i{k}",
                    "categories": ["all"],
                    "attributes": {},
                    "available": True,
                    "content_hash": "h",
                }
                for k in range(ITEMS)
            ],
        ),
        (
            tables.ITEM_FEATURES,
            [
                {
                    "item_id": f"i{k}",
                    "tags": [],
                    "origin": "attributes",
                    "title_embedding": meaning[k].tolist(),
                    "embedding": meaning[k].tolist(),
                }
                for k in range(ITEMS)
            ],
        ),
        (tables.USER_FEATURES, [{"user_id": "u00", "origin": "history"}]),
        (
            tables.EDGES,
            [
                {"src": f"i:i{k}", "dst": f"i:i{(k + 1) % ITEMS}", "relation": "followed_by", "weight": 1.0}
                for k in range(ITEMS)
            ],
        ),
    ]
    for table, content in rows:
        ctx.lake.overwrite(table, spark.createDataFrame(content, table.ddl()))
    build_user_graph.run(ctx)
    return root


@pytest.fixture
def copied(built: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(built, tmp_path / "lake"))


@pytest.fixture
def kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """Validation always prefers the map."""
    monkeypatch.setattr(iteration, "try_alignment", lambda *_: Trial(0.2, 0.1, True))


def contents(ctx: StageContext) -> dict[str, list[str]]:
    return {table.name: sorted(map(str, ctx.lake.read(table).collect())) for table in COMPARED}


@pytest.mark.usefixtures("kept")
def test_a_run_that_died_in_a_round_goes_on_behind_the_last_whole_one(
    spark: SparkSession, copied: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    undisturbed = context(spark, Path(shutil.copytree(copied, tmp_path / "undisturbed")))
    optimize.run(undisturbed)
    searched: list[int] = []
    search = round_graphs.similar_clients

    def dies_in_the_second_round(*given: Any) -> DataFrame:
        searched.append(len(searched))
        if len(searched) == 2:
            raise RuntimeError("the machine is gone")
        return search(*given)

    monkeypatch.setattr(round_graphs, "similar_clients", dies_in_the_second_round)
    with pytest.raises(RuntimeError, match="gone"):
        optimize.run(context(spark, copied))
    again = context(spark, copied)
    optimize.run(again)
    # Round 1, the second one that died, and the second one again.
    assert len(searched) == 3
    assert contents(again) == contents(undisturbed)
    assert again.lake.read(tables.PROGRESS).isEmpty()
    model = load_model(again)
    assert set(model.alignments) == set(range(1, model.round + 1))


def test_what_was_kept_is_only_for_the_same_inputs(spark: SparkSession, copied: Path) -> None:
    def kept_parts(**changes: Any) -> bool:
        return "round 0" in Progress.open(context(spark, copied, **changes))

    def keep() -> None:
        progress = Progress.open(context(spark, copied))
        progress.keep("round 0", b"{}")
        progress.save()

    keep()
    assert kept_parts()
    assert not kept_parts(guidance=0.7)
    # Whoever ran with other settings has written over the rounds.
    assert not kept_parts()
    keep()
    ctx = context(spark, copied)
    round_graphs.store_round_graph(ctx, ctx.read(tables.PROFILES).where("round = 0").drop("round"), 1)
    assert kept_parts()
    build_user_graph.run(context(spark, copied))
    assert not kept_parts()


def test_a_map_that_validation_does_not_reward_is_switched_off(spark: SparkSession, copied: Path) -> None:
    unreachable = TRAINING.model_copy(update={"min_gain": 1000.0}).model_dump()
    ctx = context(spark, copied, patience=5, alignment=unreachable)
    optimize.run(ctx)
    rows = {
        (row["metric"].removeprefix("optimize.round."), row["slice"]): row["value"]
        for row in ctx.lake.read(tables.METRICS).collect()
    }
    # Tried once, in the first round.
    assert {slice_: value for (name, slice_), value in rows.items() if name == "aligned"} == {"round=1": 0.0}
    assert rows["alignment_loss_after", "round=1"] < rows["alignment_loss_before", "round=1"]
    assert {slice_ for name, slice_ in rows if name == "alignment"} == {"round=0", "round=1", "round=2"}
    # Without the map both ways of measuring see the same graph.
    assert 0 < rows["validation_ndcg@10_not_aligned", "round=1"] <= rows["validation_ndcg@10", "round=1"]
    assert load_model(ctx).alignments == {}


def test_a_ranker_of_validation_labels_ranks_unjudged(
    spark: SparkSession, copied: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def nothing_earlier(*_: object) -> None:
        raise AssertionError("no statistics before the last training events are needed")

    monkeypatch.setattr(optimize, "earlier_histories", nothing_earlier)
    ctx = context(spark, copied, ranker={"labels": "validation", "min_leaf": 1, "trees": 5}, round=0)
    optimize.run(ctx)
    assert load_model(ctx).ranker is not None
    told = {row["metric"] for row in ctx.lake.read(tables.METRICS).collect()}
    assert "optimize.ranker.candidate_recall" in told
    assert "optimize.ranker.validation_ndcg@10" not in told
