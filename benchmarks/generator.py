"""The generator alone on a research set: accuracy of the items it writes, and what they took.

    .venv/bin/python benchmarks/generator.py --data ../shared/data/beauty --out /tmp/generator.json

The first stages of the nightly run build the lake; semantic ids and the generator are fitted on training events only.
Printed are HR and NDCG of the validation event (input: training events), by which settings were chosen, and of the
test event (input: training and validation events), ranked among all items except those of the input; the share of
produced items that exist and are allowed; seconds of quantisation, of an epoch, and per 1,000 clients.
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

import numpy as np
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from isrf_pipeline.config import Settings, load_settings
from isrf_pipeline.evaluation.metrics import accuracy
from isrf_pipeline.evaluation.split import (
    events_before_test,
    test_events,
    training_events,
    validation_events,
)
from isrf_pipeline.generator.contents import spread_meaning
from isrf_pipeline.generator.fitting import ItemMeaning, fit_generator
from isrf_pipeline.generator.lists import generated_lists
from isrf_pipeline.graphs.meaning import item_meaning
from isrf_pipeline.interests.histories import coded_histories, item_codes
from isrf_pipeline.interests.model import load_interest_model
from isrf_pipeline.lake import Lake, tables
from isrf_pipeline.session import build_session
from isrf_pipeline.stages.context import StageContext
from isrf_pipeline.stages.registry import load_stage

NIGHT = datetime.date(2026, 1, 1)
BEFORE = ("ingest", "reason_items", "build_interaction_graph")
TOP_N = 20


def main() -> None:
    """Fit, write lists, measure, and print the figures as JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--set", action="append", default=[], dest="overrides", metavar="KEY=VALUE")
    parser.add_argument("--validation-only", action="store_true", help="leave the test events alone")
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="isrf-generator-") as folder:
        settings = _settings(Path(folder), arguments.data, arguments.overrides)
        results = _measure(settings, arguments.validation_only)
    text = json.dumps({"dataset": arguments.data.name, **results}, indent=2)
    if arguments.out is not None:
        arguments.out.write_text(text + "\n")
    print(text)


def _measure(settings: Settings, validation_only: bool) -> dict[str, Any]:
    spark = build_session(settings)
    lake = Lake(spark, settings.lake)
    for name in BEFORE:
        load_stage(name).run(StageContext(spark, settings, lake, NIGHT, "generator"))
        spark.catalog.clearCache()
    interactions = lake.read(tables.INTERACTIONS)
    training = training_events(interactions, settings.split)
    described = item_meaning(StageContext(spark, settings, lake, NIGHT, "generator"))
    items = load_interest_model(lake.read(tables.ITEMS), described, lake.read(tables.EDGES), training)
    codes = item_codes(spark, items.item_ids)
    histories = coded_histories(training, codes).persist()
    meaning = ItemMeaning(items.embeddings, spread_meaning(items.embeddings, items.semantic))
    started = time.perf_counter()
    fitted = fit_generator(
        histories, spark.sparkContext.broadcast(meaning), settings.generator, with_earlier=False
    )
    results: dict[str, Any] = {
        "items_sharing_all_but_the_last_code": int((fitted.whole.ids[:, -1] > 0).sum()),
        "seconds": {
            "quantisation": round(fitted.quantisation_seconds, 1),
            "epochs": len(fitted.epoch_seconds),
            "per_epoch": round(float(np.mean(fitted.epoch_seconds)), 1),
            "fitting_in_all": round(time.perf_counter() - started, 1),
        },
    }
    model = spark.sparkContext.broadcast(fitted.whole)
    learned = histories.select("user_id", F.size("codes").alias("learned"))
    held_out = {"validation": (training, validation_events(interactions, settings.split))}
    if not validation_only:
        held_out["test"] = (
            events_before_test(interactions, settings.split),
            test_events(interactions, settings.split),
        )
    for part, (known, target) in held_out.items():
        asked = target.select("user_id", "item_id").distinct().persist()
        read = coded_histories(known, codes).join(asked.select("user_id"), "user_id", "left_semi")
        inputs = (
            read.join(learned, "user_id", "left")
            .withColumns({"learned": F.coalesce("learned", F.lit(0)), "excluded": F.col("codes")})
            .persist()
        )
        clients = inputs.count()
        started = time.perf_counter()
        lists = generated_lists(inputs, model, items.available, TOP_N).persist()
        produced = lists.count()
        seconds = time.perf_counter() - started
        named = lists.join(F.broadcast(codes), "code").persist()
        judged = asked.withColumn("slices", F.array(F.lit("all")))
        values = accuracy({"generator": named}, judged, (5, 10))
        results[part] = {
            **{
                metric: round(values[f"generator.{metric}", "all"], 4)
                for metric in ("HR@5", "NDCG@5", "HR@10", "NDCG@10")
            },
            "clients": clients,
            "seconds_per_1000_clients": round(seconds / max(clients, 1) * 1000, 2),
            "share_existing_and_allowed": _allowed(named, known, lake) / max(produced, 1),
            "items_a_client": round(produced / max(clients, 1), 2),
        }
    return results


def _allowed(named: DataFrame, known: DataFrame, lake: Lake) -> int:
    """Rows of lists whose item is in the catalogue, available and not known to the client."""
    there = lake.read(tables.ITEMS).where("available").select("item_id")
    return (
        named.join(there, "item_id", "left_semi")
        .join(known.select("user_id", "item_id").distinct(), ["user_id", "item_id"], "left_anti")
        .count()
    )


def _settings(root: Path, data: Path, changes: list[str]) -> Settings:
    base = importlib.resources.files("isrf_pipeline.evaluation") / "benchmark.yaml"
    with importlib.resources.as_file(base) as file:
        fixed = [f"lake.root={json.dumps(str(root))}", f"ingest.research.path={json.dumps(str(data))}"]
        return load_settings(file, [*fixed, *changes]).settings


if __name__ == "__main__":
    main()
