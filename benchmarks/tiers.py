"""What each tier of clients costs, and what it does to accuracy, on a sample of a research set in one run.

    .venv/bin/python benchmarks/tiers.py --data ../shared/data/beauty --clients 480 --out /tmp/tiers.json

Every tier runs the same stages over the same clients with a real vLLM engine; items have no words of a model, so that
only the clients' texts differ. Accuracy is NDCG@10 and HR@10 of the test event under leave-one-out, and the difference
from doing without texts, as a 95 % interval of a paired bootstrap over clients. What a later night asks is planned and
not run: one in which every tenth client has one more event, and one after the model was exchanged as well.
"""

from __future__ import annotations

import argparse
import csv
import datetime
import gzip
import hashlib
import importlib.resources
import json
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from isrf_pipeline.cli.plan import planned
from isrf_pipeline.config import Settings, load_settings
from isrf_pipeline.evaluation.split import test_events
from isrf_pipeline.lake import Lake, tables
from isrf_pipeline.session import build_session
from isrf_pipeline.stages.context import StageContext
from isrf_pipeline.stages.registry import load_stage

NIGHT = datetime.date(2026, 1, 1)
#: Night whose segments are the prototypes.
EVE = NIGHT - datetime.timedelta(days=1)
BEFORE = ("ingest", "reason_items", "build_interaction_graph", "reason_users", "build_user_graph")
AFTER = ("optimize", "recommend")
#: Settings of each way to give clients a text, beside those of the benchmark.
WAYS = {
    "no text": ["reasoning.backend=none"],
    "composed": ["reasoning.users.enabled=false"],
    "prototypes": ["reasoning.users.tier=prototypes"],
    "all": ["reasoning.users.tier=all"],
    "changed": ["reasoning.users.tier=changed"],
}
MEASURED = ("no text", "composed", "prototypes", "all")
#: One client in so many has one more event in the later night.
CHANGED = 10
RESAMPLES = 2000


def main() -> None:
    """Run every tier and print the figures as JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--clients", type=int, default=480)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="isrf-tiers-") as folder:
        results = _measure(Path(folder), arguments.data, arguments.clients)
    text = json.dumps(results, indent=2)
    if arguments.out is not None:
        arguments.out.write_text(text + "\n")
    print(text)


def _measure(folder: Path, data: Path, clients: int) -> dict[str, Any]:
    now, later = folder / "now", folder / "later"
    results: dict[str, Any] = {"dataset": data.name, **_sample(data, clients, now, later), "tiers": {}}
    spark = build_session(_settings(folder / "none", now, "no text"))
    gains: dict[str, NDArray[np.float64]] = {}
    for way in MEASURED:
        root = folder / way.replace(" ", "-")
        if way == "prototypes":
            # Segments come from an earlier night, which did without the model.
            _run(spark, _settings(root, now, "composed", "user_graph.segments=true"), BEFORE, EVE)
        settings = _settings(root, now, way)
        spent = _run(spark, settings, (*BEFORE, *AFTER))
        gains[way] = _gains(spark, settings)
        results["tiers"][way] = spent | _accuracy(gains[way], gains["no text"])
        # Minutes each: what is known so far is worth a line.
        print(json.dumps({way: results["tiers"][way]}), file=sys.stderr, flush=True)
    for way in ("prototypes", "all", "changed"):
        root = folder / f"later-{way}"
        shutil.copytree(folder / ("prototypes" if way == "prototypes" else "all"), root)
        _run(spark, _settings(root, later, way), ("ingest",))
        asked = {
            night: _to_do(spark, _settings(root, later, way, *changes))
            for night, changes in (
                ("a tenth of clients has one more event", ()),
                ("and the model is another", ("reasoning.engine.revision=another",)),
            )
        }
        results["tiers"].setdefault(way, {})["asked in a later night"] = asked
    return results


def _sample(data: Path, clients: int, now: Path, later: Path) -> dict[str, int]:
    """Write the events of some clients, drawn by hash, and their items; ``now`` lacks some clients' newest event."""
    with gzip.open(data / "interactions.csv.gz", "rt", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    drawn = sorted({row["user_id"] for row in rows}, key=_hash)[:clients]
    kept = {client: [row for row in rows if row["user_id"] == client] for client in drawn}
    newest = {
        client: max(own, key=lambda row: int(row["position"]))
        for client, own in list(kept.items())[::CHANGED]
        # The split needs three events.
        if len(own) > 3
    }
    items = {row["item_id"] for own in kept.values() for row in own}
    with gzip.open(data / "items.jsonl.gz", "rt", encoding="utf-8") as file:
        catalogue = [line for line in file if json.loads(line)["item_id"] in items]
    for folder, left_out in ((now, newest), (later, {})):
        folder.mkdir()
        with gzip.open(folder / "interactions.csv.gz", "wt", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            for client, own in kept.items():
                writer.writerows(row for row in own if row is not left_out.get(client))
        with gzip.open(folder / "items.jsonl.gz", "wt", encoding="utf-8") as file:
            file.writelines(catalogue)
    return {"clients": len(kept), "items": len(catalogue), "clients with one more event later": len(newest)}


def _hash(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()


def _settings(root: Path, data: Path, way: str, *more: str) -> Settings:
    base = importlib.resources.files("isrf_pipeline.evaluation") / "benchmark.yaml"
    with importlib.resources.as_file(base) as file:
        return load_settings(
            file,
            [
                f"lake.root={root}",
                f"ingest.research.path={data}",
                "spark.driver_memory=3g",
                "reasoning.backend=engine",
                "reasoning.mode=single",
                "reasoning.items.enabled=false",
                # The small model's dead letters are counted and stop nothing.
                "reasoning.max_failed_share=1.0",
                *WAYS[way],
                *more,
            ],
        ).settings


def _run(
    spark: SparkSession, settings: Settings, stages: tuple[str, ...], night: datetime.date = NIGHT
) -> dict[str, Any]:
    """Run stages; what reason_users spent."""
    lake = Lake(spark, settings.lake)
    spent: dict[str, Any] = {}
    for name in stages:
        ctx = StageContext(spark, settings, lake, night, f"tiers-{time.time_ns()}")
        started = time.perf_counter()
        load_stage(name).run(ctx)
        seconds = time.perf_counter() - started
        spark.catalog.clearCache()
        if name == "reason_users":
            origins = lake.read(tables.USER_FEATURES).groupBy("origin").count().collect()
            spent = {
                "calls": ctx.counters.llm_calls,
                "tokens": ctx.counters.llm_tokens,
                "seconds": round(seconds, 1),
                "texts": {row["origin"]: row["count"] for row in origins},
            }
    return spent


def _to_do(spark: SparkSession, settings: Settings) -> int:
    """Subjects that ``isrf plan`` says would be asked about."""
    lake = Lake(spark, settings.lake)
    (plan,) = planned(StageContext(spark, settings, lake, NIGHT, "plan"))
    return plan.to_do


def _gains(spark: SparkSession, settings: Settings) -> NDArray[np.float64]:
    """(clients, 2): NDCG@10, and whether the test event is among ten, of each client in the order of clients."""
    lake = Lake(spark, settings.lake)
    lists = lake.read(tables.RECOMMENDATIONS.pending).where("rank <= 10").select("user_id", "item_id", "rank")
    tests = test_events(lake.read(tables.INTERACTIONS), settings.split).select("user_id", "item_id")
    gain = F.coalesce(1 / F.log2(F.col("rank") + 1.0), F.lit(0.0)).alias("ndcg")
    rows = tests.join(lists, ["user_id", "item_id"], "left").orderBy("user_id").select(gain).toPandas()
    ndcg = rows["ndcg"].to_numpy()
    return np.stack([ndcg, (ndcg > 0).astype(float)], axis=1)


def _accuracy(gains: NDArray[np.float64], base: NDArray[np.float64]) -> dict[str, Any]:
    difference = gains - base
    drawn = np.random.default_rng(0).integers(0, len(gains), (RESAMPLES, len(gains)))
    resampled = difference[drawn].mean(axis=1)
    figures: dict[str, Any] = {}
    for place, name in enumerate(("NDCG@10", "HR@10")):
        low, high = np.percentile(resampled[:, place], [2.5, 97.5])
        figures[name] = round(float(gains[:, place].mean()), 4)
        figures[f"{name} against no text"] = [round(float(value), 4) for value in (low, high)]
    return figures


if __name__ == "__main__":
    main()
