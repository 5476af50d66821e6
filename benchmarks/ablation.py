"""What each part of the method is worth on a research set: the whole and the whole without one part, in one run.

    .venv/bin/python benchmarks/ablation.py --data ../shared/data/beauty --out /tmp/ablation.json

The lake is built once; every way runs ``optimize`` and ``recommend`` on it, as a night of its own, with the same split
and the same validation clients; the sequence model, the same in all that have it, is trained by the first. Printed are
NDCG@10 and HR@10 of the test event by slice, and by how much the whole is better, with the 95 % interval of a paired
bootstrap over clients.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

from nights import (
    accuracy_of_nights,
    chosen_settings,
    figures_by_slice,
    judged_clients,
    nights_of,
    research_settings,
    run_stage,
    train_sequences_once,
)

from isrf_pipeline.lake import Lake
from isrf_pipeline.session import build_session

BEFORE = ("ingest", "reason_items", "build_interaction_graph", "reason_users", "build_user_graph")
#: Settings of each way beside those of the benchmark; the first is what the others are compared with.
WAYS: dict[str, list[str]] = {
    "whole": [],
    "without the group": ['optimize.scorers=["followed","semantic","sequence"]'],
    "without the interaction graph": ['optimize.scorers=["sequence","group"]'],
    "without the sequence model": ['optimize.scorers=["followed","semantic","group"]'],
    "without rounds": ["optimize.min_round_gain=1000"],
    "round 1 whatever validation says": [
        "optimize.rounds=2",
        "optimize.round=1",
        "optimize.alignment.min_gain=-1",
    ],
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
    settings = {way: research_settings(root, data, [*WAYS[way], *overrides]) for way in ways}
    whole, nights = ways[0], nights_of(ways)
    lake = Lake(build_session(settings[whole]), settings[whole].lake)
    train_sequences_once()
    for name in BEFORE:
        run_stage(settings[whole], lake, name, nights[whole])
    seconds = {
        way: {name: run_stage(settings[way], lake, name, nights[way]) for name in ("optimize", "recommend")}
        for way in ways
    }
    values = accuracy_of_nights(lake, judged_clients(lake, settings[whole]), nights)
    results: dict[str, Any] = {"dataset": data.name, "ways": {}}
    for way, night in nights.items():
        results["ways"][way] = {
            "seconds": seconds[way],
            "chosen": chosen_settings(lake, night),
            "slices": figures_by_slice(values, whole, way, "the whole"),
        }
    return results


if __name__ == "__main__":
    main()
