"""Nights of one research lake under different settings, and their accuracy beside each other."""

from __future__ import annotations

import datetime
import importlib.resources
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from isrf_pipeline.config import Settings, load_settings
from isrf_pipeline.evaluation.metrics import accuracy
from isrf_pipeline.evaluation.slices import client_slices
from isrf_pipeline.evaluation.split import events_before_test, test_events, training_events
from isrf_pipeline.lake import Lake, tables
from isrf_pipeline.publication.publishing import publish
from isrf_pipeline.stages import optimize
from isrf_pipeline.stages.context import StageContext
from isrf_pipeline.stages.registry import load_stage

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

METRICS = ("NDCG@10", "HR@10")
#: After the last event of every research set, so that none is a future event.
FIRST_NIGHT = datetime.date(2026, 1, 1)


def nights_of(ways: Sequence[str]) -> dict[str, datetime.date]:
    """A night of its own for each way."""
    return {way: FIRST_NIGHT + datetime.timedelta(days=place) for place, way in enumerate(ways)}


def research_settings(root: Path, data: Path, changes: Sequence[str]) -> Settings:
    """Settings of ``isrf benchmark`` for a lake at ``root``, with ``key=value`` changes."""
    base = importlib.resources.files("isrf_pipeline.evaluation") / "benchmark.yaml"
    with importlib.resources.as_file(base) as file:
        fixed = [f"lake.root={json.dumps(str(root))}", f"ingest.research.path={json.dumps(str(data))}"]
        return load_settings(file, [*fixed, *changes]).settings


def run_stage(settings: Settings, lake: Lake, name: str, night: datetime.date) -> float:
    """Run a stage for a night and return its seconds; lists are kept beside those of other nights."""
    started = time.perf_counter()
    context = StageContext(lake.spark, settings, lake, night, f"way-{night}")
    load_stage(name).run(context)
    lake.spark.catalog.clearCache()
    seconds = round(time.perf_counter() - started, 1)
    if name == "recommend":
        publish(context)
    return seconds


def train_sequences_once() -> None:
    """Let all nights of this process share the sequence models of the first that trains them.

    For nights on one lake whose settings of these models are equal: they would train the same again. Seconds of
    ``optimize`` are then those of the first night with the training and of the others without.
    """
    train, kept = optimize.train_sequences, {}

    def once(ctx: StageContext, histories: DataFrame, model: Any, progress: Any) -> Any:
        if "sequence" not in ctx.settings.optimize.scorers:
            return None
        told = ctx.settings.sequence.model_dump_json()
        if told not in kept:
            kept[told] = train(ctx, histories, model, progress)
        return kept[told]

    optimize.train_sequences = once


def judged_clients(lake: Lake, settings: Settings) -> DataFrame:
    """Clients with a test event and their slices: user_id, item_id, slices."""
    interactions = lake.read(tables.INTERACTIONS)
    pair = ("user_id", "item_id")
    held_out = test_events(interactions, settings.split).select(*pair).distinct()
    known = events_before_test(interactions, settings.split).select(*pair).distinct()
    training = training_events(interactions, settings.split).select(*pair).distinct()
    return client_slices(held_out, known, training, lake.read(tables.ITEMS))


def accuracy_of_nights(
    lake: Lake, judged: DataFrame, nights: dict[str, datetime.date]
) -> dict[tuple[str, str], float]:
    """Accuracy of each way's lists, the first compared with each other; see the metrics module for the keys."""
    from pyspark.sql import functions as F

    lists = lake.read(tables.RECOMMENDATIONS)
    return accuracy(
        {way: lists.where(F.col("run_date") == night) for way, night in nights.items()}, judged.persist()
    )


def chosen_settings(lake: Lake, night: datetime.date) -> dict[str, Any]:
    """What validation chose for a night."""
    from pyspark.sql import functions as F

    row = lake.read(tables.INTEREST_MODEL).where(F.col("run_date") == F.lit(night)).drop("run_date").first()
    return row.asDict() if row is not None else {}


def slices_of(values: dict[tuple[str, str], float]) -> list[str]:
    """Names of the slices that were measured."""
    return sorted({slice_ for _, slice_ in values})


def figures_by_slice(
    values: dict[tuple[str, str], float], first: str, way: str, called: str
) -> dict[str, dict[str, Any]]:
    """Slice to NDCG@10 and HR@10 of a way, and by how much the first, which is named ``called``, is better."""
    found: dict[str, dict[str, Any]] = {}
    for slice_ in slices_of(values):
        figures: dict[str, Any] = {}
        for metric in METRICS:
            figures[metric] = round(values[f"{way}.{metric}", slice_], 5)
            if way != first:
                figures[f"{metric} of {called} is better by"] = first_is_better_by(
                    values, first, way, metric, slice_
                )
        found[slice_] = figures
    return found


def first_is_better_by(
    values: dict[tuple[str, str], float], first: str, other: str, metric: str, slice_: str
) -> list[float]:
    """By how much ``first`` is better than ``other``, and the bounds of its paired 95 % interval."""
    name = f"{first}.{metric}_over_{other}"
    return [round(values[name + bound, slice_], 5) for bound in ("", ".low", ".high")]
