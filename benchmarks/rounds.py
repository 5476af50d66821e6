"""What the rounds of optimization are worth on a research set: accuracy after each, with its alignment and without.

    .venv/bin/python benchmarks/rounds.py --data ../shared/data/beauty --out /tmp/rounds.json

The lake is built once; every way runs ``optimize`` and ``recommend`` on it, as a night of its own that delivers a named
round whatever validation says; the sequence model, the same in all, is trained by the first. Printed are NDCG@10 and
HR@10 of the test event by slice, and by how much round 0 is better, with the 95 % interval of a paired bootstrap over
clients; beside them what validation said of each round.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

from nights import (
    accuracy_of_nights,
    figures_by_slice,
    judged_clients,
    nights_of,
    research_settings,
    run_stage,
    train_sequences_once,
)
from pyspark.sql import functions as F

from isrf_pipeline.lake import Lake, tables
from isrf_pipeline.session import build_session

BEFORE = ("ingest", "reason_items", "build_interaction_graph", "reason_users", "build_user_graph")


def ways_of(rounds: int) -> dict[str, list[str]]:
    """Settings of each way beside those of the benchmark; the first is what the others are compared with."""
    ways = {}
    for number in range(rounds + 1):
        named = [f"optimize.rounds={max(2, rounds)}", f"optimize.round={number}"]
        ways[f"round {number}"] = [*named, "optimize.alignment.enabled=false"]
        if number:
            ways[f"round {number} aligned"] = [*named, "optimize.alignment.min_gain=-1"]
    return ways


def main() -> None:
    """Run every way and print the figures as JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--rounds", type=int, default=2, help="the last round that is measured")
    parser.add_argument("--set", action="append", default=[], dest="overrides", metavar="KEY=VALUE")
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="isrf-rounds-") as folder:
        results = _measure(Path(folder), arguments.data, ways_of(arguments.rounds), arguments.overrides)
    text = json.dumps(results, indent=2)
    if arguments.out is not None:
        arguments.out.write_text(text + "\n")
    print(text)


def _measure(root: Path, data: Path, ways: dict[str, list[str]], overrides: list[str]) -> dict[str, Any]:
    settings = {way: research_settings(root, data, [*ways[way], *overrides]) for way in ways}
    nights = nights_of(list(ways))
    first = next(iter(ways))
    lake = Lake(build_session(settings[first]), settings[first].lake)
    train_sequences_once()
    for name in BEFORE:
        run_stage(settings[first], lake, name, nights[first])
    seconds = {
        way: {name: run_stage(settings[way], lake, name, nights[way]) for name in ("optimize", "recommend")}
        for way in ways
    }
    values = accuracy_of_nights(lake, judged_clients(lake, settings[first]), nights)
    measured = lake.read(tables.METRICS).where("startswith(metric, 'optimize.')")
    results: dict[str, Any] = {"dataset": data.name, "ways": {}}
    for way, night in nights.items():
        results["ways"][way] = {
            "seconds": seconds[way],
            "validation": {
                f"{row['metric'].removeprefix('optimize.')} {row['slice']}": round(row["value"], 5)
                for row in measured.where(F.col("run_date") == F.lit(night)).collect()
            },
            "slices": figures_by_slice(values, first, way, first),
        }
    return results


if __name__ == "__main__":
    main()
