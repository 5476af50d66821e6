"""What a night with a little news costs, beside a night that starts from nothing.

    .venv/bin/python benchmarks/increment.py --out /tmp/increment.json

The demo lake's sources of two nights: the second has one article and one client in a hundred more, and a day's events.
One lake runs both nights, another only the second. Printed for the second night, stage by stage and for either lake:
seconds, rows written, calls and tokens of the language model; and the share of clients whose list is the same in both
lakes (the engine answers in batches, so that two runs need not agree to the last bit). A third run of the same night on
the first lake shows what a repeated night costs.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from pyspark.sql import functions as F

from isrf_pipeline.cli.demo import demo_configuration, moved_paths
from isrf_pipeline.config import load_settings
from isrf_pipeline.demo.generate import generate_demo_lake
from isrf_pipeline.demo.week import Sources, Week, write_night
from isrf_pipeline.lake import Lake, tables
from isrf_pipeline.session import build_session

WEEK = Week(nights=2, clients_in=100, articles_in=100, sold_out=9, dearer=9, erased=9, poisoned=9, killed=9)


def main() -> None:
    """Run the nights and print the figures as JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--set", action="append", default=[], dest="overrides", metavar="KEY=VALUE")
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="isrf-increment-") as folder:
        results = _measure(Path(folder), arguments.overrides)
    text = json.dumps(results, indent=2)
    if arguments.out is not None:
        arguments.out.write_text(text + "\n")
    print(text)


def _measure(root: Path, overrides: list[str]) -> dict[str, Any]:
    generate_demo_lake(root / "whole")
    sources = Sources.read(root / "whole", WEEK)
    for name, nights in (("increment", (1, 2)), ("full", (2,))):
        raw = root / name / "raw"
        raw.mkdir(parents=True)
        for night in nights:
            write_night(sources, WEEK, night, raw)
            _run(root / name, overrides, night)
    _run(root / "increment", overrides, 2)
    settings = load_settings(demo_configuration(), _settings(root / "full", overrides)).settings
    spark = build_session(settings)
    lakes = {
        name: Lake(spark, settings.lake.model_copy(update={"root": str(root / name / "lake")}))
        for name in ("increment", "full")
    }
    articles = {str(row["article_code"]) for row in sources.named_articles()}
    new_articles = len(articles & sources.arrivals.keys())
    runs = {name: _by_run(lake) for name, lake in lakes.items()}
    lists = [
        lake.read(tables.RECOMMENDATIONS)
        .where(F.col("run_date") == F.lit(WEEK.date_of(2)))
        .groupBy("user_id")
        .agg(F.array_sort(F.collect_list(F.struct("rank", "item_id"))).alias(name))
        for name, lake in lakes.items()
    ]
    both = lists[0].join(lists[1], "user_id", "full")
    row = both.agg(F.avg((F.col("increment") == F.col("full")).cast("int")).alias("same")).first()
    return {
        "new articles": new_articles,
        "new clients": len(sources.arrivals) - new_articles,
        "after the night before": runs["increment"][1],
        "from nothing": runs["full"][0],
        "repeated": runs["increment"][2],
        "clients with the same list": round(row["same"], 4) if row is not None else None,
    }


def _run(folder: Path, overrides: list[str], night: int) -> None:
    """Run a night on the sources that lie below ``folder``, in a process of its own."""
    sets = [part for change in _settings(folder, overrides) for part in ("--set", change)]
    command = [sys.executable, "-m", "isrf_pipeline", "nightly", "--conf-file", str(demo_configuration())]
    subprocess.run([*command, "--run-date", str(WEEK.date_of(night)), *sets], check=True, stdout=sys.stderr)


def _settings(folder: Path, overrides: list[str]) -> list[str]:
    return [*moved_paths(load_settings(demo_configuration()).settings, folder), *overrides]


def _by_run(lake: Lake) -> list[dict[str, Any]]:
    """Each run of a lake, in the order of their starts: stage to what it took."""
    records = lake.read(tables.RUNS).orderBy("started_at").collect()
    runs: dict[str, dict[str, Any]] = {}
    for row in records:
        runs.setdefault(row["run_id"], {})[row["stage"]] = {
            "status": row["status"],
            "seconds": round(row["seconds"], 1),
            "rows written": row["rows_out"],
            "calls": row["llm_calls"],
            "tokens": row["llm_tokens"],
        }
    counted = ("seconds", "rows written", "calls", "tokens")
    for stages in runs.values():
        stages["total"] = {name: round(sum(stage[name] for stage in stages.values()), 1) for name in counted}
    return list(runs.values())


if __name__ == "__main__":
    main()
