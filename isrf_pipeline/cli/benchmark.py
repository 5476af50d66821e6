"""``isrf benchmark``."""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from isrf_pipeline.cli.parser import CommandGroup, add_override_argument
from isrf_pipeline.environment.java import require_java
from isrf_pipeline.run.execution import logged_to
from isrf_pipeline.run.launch import native_output_in, temporary_log_folder, under_spark_submit
from isrf_pipeline.run.terminal import duration, say, text_table

_FIGURES = ("HR@5", "NDCG@5", "HR@10", "NDCG@10")


def add_commands(commands: CommandGroup) -> None:
    """Add the command."""
    benchmark = commands.add("benchmark", "measure the recommendations on a research set, beside its peers")
    benchmark.add_argument(
        "--data", required=True, metavar="DIR", help="folder with interactions.csv.gz and items.jsonl.gz"
    )
    benchmark.add_argument(
        "--out", required=True, metavar="DIR", help="folder for metrics.json and the lake of the run"
    )
    benchmark.add_argument(
        "--peers",
        default="",
        metavar="A,B",
        help="peers to measure too: popularity, mllib_als, bm25, implicit_als, ease, sasrec",
    )
    benchmark.add_argument(
        "--shuffle-ties", type=int, metavar="SEED", help="shuffle each client's events of one day"
    )
    benchmark.add_argument(
        "--profile",
        choices=("full", "fast"),
        default="full",
        help="fast: three fifths of the time, nine tenths of the accuracy (default: full)",
    )
    add_override_argument(benchmark)
    benchmark.set_defaults(command=run)


def run(arguments: argparse.Namespace) -> int:
    """Run the benchmark and print its figures."""
    from isrf_pipeline.evaluation.benchmark import run_benchmark

    if not under_spark_submit():
        require_java()
    out = Path(arguments.out)
    peers = [peer.strip() for peer in arguments.peers.split(",") if peer.strip()]
    log_file = temporary_log_folder() / f"benchmark-{os.getpid()}.log"
    with logged_to(log_file), native_output_in(log_file):
        result = run_benchmark(
            Path(arguments.data), out, peers, arguments.shuffle_ties, arguments.set, arguments.profile
        )
    for line in figures(result):
        say(line)
    say(f"written to {out / 'metrics.json'}")
    return 0


def figures(result: Mapping[str, Any]) -> list[str]:
    """Table of accuracy and time, one line for the pipeline and one for each peer."""
    measured = {"isrf": result["isrf"], **result["peers"]}
    rows = [
        (name, *(f"{values[figure]:.4f}" for figure in _FIGURES), _total(values["wall_seconds"]))
        for name, values in measured.items()
    ]
    return text_table(("", *_FIGURES, "time"), rows)


def _total(seconds: Mapping[str, float]) -> str:
    return duration(seconds["total"] if "total" in seconds else sum(seconds.values()))
