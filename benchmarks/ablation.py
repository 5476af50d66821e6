"""What each part of the method is worth on a research set: the whole and the whole without one part, in one run.

    .venv/bin/python benchmarks/ablation.py --data ../shared/data/beauty --out /tmp/ablation.json

The lake is built once; every way runs ``optimize`` and ``recommend`` on it, as a night of its own, with the same split
and the same validation clients. Printed are NDCG@10 and HR@10 of the test event by slice, and by how much the whole is
better, with the 95 % interval of a paired bootstrap over clients.
"""

from __future__ import annotations

import argparse
import datetime
import importlib.resources
import json
import tempfile
import time
from pathlib import Path
from typing import Any

from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from isrf_pipeline.config import Settings, load_settings
from isrf_pipeline.evaluation.metrics import accuracy
from isrf_pipeline.evaluation.slices import client_slices
from isrf_pipeline.evaluation.split import events_before_test, test_events, training_events
from isrf_pipeline.lake import Lake, tables
from isrf_pipeline.session import build_session
from isrf_pipeline.stages.context import StageContext
from isrf_pipeline.stages.registry import load_stage

NIGHT = datetime.date(2026, 1, 1)
BEFORE = ("ingest", "reason_items", "build_interaction_graph", "reason_users", "build_user_graph")
#: Settings of each way beside those of the benchmark; the first is what the others are compared with.
WAYS: dict[str, list[str]] = {
    "whole": [],
    "without the group": ['optimize.scorers=["followed","semantic","sequence"]'],
    "without the interaction graph": ['optimize.scorers=["sequence","group"]'],
    "without the sequence model": ['optimize.scorers=["followed","semantic","group"]'],
    "without rounds": ["optimize.min_round_gain=1000"],
    "without the ranker": ["ranker.enabled=false"],
}


def main() -> None:
    """Run every way and print the figures as JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--ways", default=",".join(WAYS), help="which of them, the whole first")
    parser.add_argument("--set", action="append", default=[], dest="overrides", metavar="KEY=VALUE")
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="isrf-ablation-") as folder:
        results = _measure(Path(folder), arguments.data, arguments.ways.split(","), arguments.overrides)
    text = json.dumps(results, indent=2)
    if arguments.out is not None:
        arguments.out.write_text(text + "\n")
    print(text)


def _measure(root: Path, data: Path, ways: list[str], overrides: list[str]) -> dict[str, Any]:
    settings = {way: _settings(root, data, [*WAYS[way], *overrides]) for way in ways}
    whole = settings[ways[0]]
    spark = build_session(whole)
    lake = Lake(spark, whole.lake)
    for name in BEFORE:
        _run(spark, whole, lake, name, NIGHT)
    nights = {way: NIGHT + datetime.timedelta(days=place) for place, way in enumerate(ways)}
    seconds = {
        way: {name: _run(spark, settings[way], lake, name, nights[way]) for name in ("optimize", "recommend")}
        for way in ways
    }
    values = _accuracy(lake, whole, nights)
    chosen = {row["run_date"]: row.asDict() for row in lake.read(tables.INTEREST_MODEL).collect()}
    results: dict[str, Any] = {"dataset": data.name, "ways": {}}
    for way, night in nights.items():
        weights = {key: value for key, value in chosen[night].items() if key != "run_date"}
        results["ways"][way] = {"seconds": seconds[way], "chosen": weights, "slices": {}}
        for slice_ in sorted({slice_ for _, slice_ in values}):
            figures: dict[str, Any] = {}
            for metric in ("NDCG@10", "HR@10"):
                figures[metric] = round(values[f"{way}.{metric}", slice_], 5)
                worth = f"{ways[0]}.{metric}_over_{way}"
                if way != ways[0]:
                    figures[f"{metric} of the whole is better by"] = [
                        round(values[worth + bound, slice_], 5) for bound in ("", ".low", ".high")
                    ]
            results["ways"][way]["slices"][slice_] = figures
    return results


def _accuracy(
    lake: Lake, settings: Settings, nights: dict[str, datetime.date]
) -> dict[tuple[str, str], float]:
    interactions = lake.read(tables.INTERACTIONS)
    pair = ("user_id", "item_id")
    held_out = test_events(interactions, settings.split).select(*pair).distinct()
    known = events_before_test(interactions, settings.split).select(*pair).distinct()
    training = training_events(interactions, settings.split).select(*pair).distinct()
    judged = client_slices(held_out, known, training, lake.read(tables.ITEMS)).persist()
    lists = lake.read(tables.RECOMMENDATIONS)
    return accuracy({way: lists.where(F.col("run_date") == night) for way, night in nights.items()}, judged)


def _settings(root: Path, data: Path, changes: list[str]) -> Settings:
    base = importlib.resources.files("isrf_pipeline.evaluation") / "benchmark.yaml"
    with importlib.resources.as_file(base) as file:
        fixed = [f"lake.root={json.dumps(str(root))}", f"ingest.research.path={json.dumps(str(data))}"]
        return load_settings(file, [*fixed, *changes]).settings


def _run(spark: SparkSession, settings: Settings, lake: Lake, name: str, night: datetime.date) -> float:
    started = time.perf_counter()
    load_stage(name).run(StageContext(spark, settings, lake, night, f"ablation-{night}"))
    spark.catalog.clearCache()
    return round(time.perf_counter() - started, 1)


if __name__ == "__main__":
    main()
