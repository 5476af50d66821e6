"""Output tokens a second of the reasoning stage against raw vLLM, side by side in one run on this machine.

    .venv/bin/python benchmarks/reasoning.py --prompts 512 --out /tmp/reasoning.json

Raw is ``LLM.chat`` in a process of its own over the very prompts that the stage asks, all handed over at once. The
stage asks them through Spark, wave by wave, each wave committed to Delta: with an engine in its worker, then with a
server. What is measured of the stage is everything from reading the lake to the last commit. All three have answered
a few other prompts before, so that neither the start of an engine nor that of Spark is in it; the engine's is
reported apart. Raw runs before and after each, and the stage is held against the mean of both: over such a run the
machine's own speed drifts by some percent.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime
import json
import os
import platform
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from isrf_pipeline.config import Settings
from isrf_pipeline.config.settings import EngineSettings, ReasoningSettings
from isrf_pipeline.demo.articles import build_catalogue
from isrf_pipeline.environment.model import MODEL_NAME
from isrf_pipeline.lake import Lake, tables
from isrf_pipeline.reasoning.backends import backend_of_this_process
from isrf_pipeline.reasoning.conversation import Chain
from isrf_pipeline.reasoning.engine import VllmEngine
from isrf_pipeline.reasoning.items import item_subjects
from isrf_pipeline.reasoning.serving import server_command, server_variables
from isrf_pipeline.reasoning.steps import chain_of
from isrf_pipeline.reasoning.waves import ENGINE_ROLE, reason_over
from isrf_pipeline.reasoning.workers import end_workers
from isrf_pipeline.session import build_session
from isrf_pipeline.stages.context import StageContext

NIGHT = datetime.date(2026, 6, 30)
#: Articles that are answered before the clock runs.
WARM_UP = 8


def main() -> None:
    """Run what was asked for and print the figures as JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--prompts", type=int, default=512)
    parser.add_argument("--modes", default="raw,engine,raw,server,raw", help="what is measured, in order")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--raw", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.raw is not None:
        print(json.dumps(_raw(arguments.raw)))
        return
    modes = arguments.modes.split(",")
    with tempfile.TemporaryDirectory(prefix="isrf-bench-") as folder:
        results = _measure(Path(folder), arguments.prompts, modes)
    if arguments.out is not None:
        arguments.out.write_text(json.dumps(results, indent=2) + "\n")
    print(json.dumps(results, indent=2))


def _measure(folder: Path, prompts: int, modes: list[str]) -> dict[str, Any]:
    settings = _settings(folder / "inputs", "none", ())
    spark = build_session(settings)
    rows, others = _catalogue(prompts, seed=11), _catalogue(WARM_UP, seed=12)
    results: dict[str, Any] = {
        "prompts": prompts,
        "model": MODEL_NAME,
        "machine": f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores",
    }
    asked = folder / "chats.json"
    lake = Lake(spark, settings.lake)
    asked.write_text(json.dumps([_chats(lake, others), _chats(lake, rows)]))
    speeds: dict[int, float] = {}
    for place, mode in enumerate(modes):
        if mode == "raw":
            ran = subprocess.run(
                [sys.executable, __file__, "--raw", str(asked)], check=True, stdout=subprocess.PIPE, text=True
            )
            figures = json.loads(ran.stdout.splitlines()[-1])
            speeds[place] = figures["tokens_out_per_second"]
            results.setdefault("raw", []).append(figures)
        if mode == "engine":
            first = _stage(spark, folder / "engine-first", others, "engine", ())
            results["engine"] = _stage(spark, folder / "engine", rows, "engine", ())
            results["engine"]["start_seconds"] = first["start_seconds"]
            end_workers(spark, ENGINE_ROLE)
            time.sleep(2)
        if mode == "server":
            with _server(folder) as (url, start_seconds):
                _stage(spark, folder / "server-first", others, "server", (url,))
                results["server"] = _stage(spark, folder / "server", rows, "server", (url,))
                results["server"]["start_seconds"] = start_seconds
    for place, mode in enumerate(modes):
        beside = [speeds[near] for near in (place - 1, place + 1) if near in speeds]
        if mode != "raw" and beside:
            share = results[mode]["tokens_out_per_second"] / (sum(beside) / len(beside))
            results[mode]["share_of_raw"] = round(share, 3)
    return results


def _chats(lake: Lake, rows: list[tuple[Any, ...]]) -> list[Any]:
    lake.overwrite(tables.ITEMS, lake.spark.createDataFrame(rows, tables.ITEMS.ddl()))
    step = chain_of("item", "single")[0]
    inputs = item_subjects(lake.read(tables.ITEMS)).orderBy("subject").collect()
    return [Chain(row["subject"], row["input"]).prompt(step).messages() for row in inputs]


def _raw(asked: Path) -> dict[str, Any]:
    others, chats = json.loads(asked.read_text())
    step = chain_of("item", "single")[0]
    clock = time.perf_counter()
    engine = VllmEngine(EngineSettings())
    start_seconds = time.perf_counter() - clock
    engine._llm.chat(others, engine._sampling(step), use_tqdm=False)
    clock = time.perf_counter()
    outputs = engine._llm.chat(chats, engine._sampling(step), use_tqdm=False)
    seconds = time.perf_counter() - clock
    tokens = sum(len(output.outputs[0].token_ids) for output in outputs)
    return _figures(len(chats), tokens, seconds) | {"start_seconds": round(start_seconds, 1)}


def _stage(
    spark: Any, root: Path, rows: list[tuple[Any, ...]], backend: str, urls: tuple[str, ...]
) -> dict[str, Any]:
    settings = _settings(root, backend, urls)
    lake = Lake(spark, settings.lake)
    lake.overwrite(tables.ITEMS, spark.createDataFrame(rows, tables.ITEMS.ddl()))
    ctx = StageContext(spark, settings, lake, NIGHT, f"bench-{backend}")
    clock = time.perf_counter()
    subjects = item_subjects(lake.read(tables.ITEMS))
    reason_over(ctx, "item", subjects, None, backend_of_this_process).count()
    seconds = time.perf_counter() - clock
    measured = {
        row["metric"]: row["value"] for row in lake.read(tables.METRICS).where("slice = 'all'").collect()
    }
    return _figures(len(rows), int(measured["reason_items.tokens_out"]), seconds) | {
        "calls": int(measured["reason_items.calls"]),
        "start_seconds": round(measured["reason_items.start_seconds"], 1),
        "seconds_of_waves": round(measured["reason_items.wave_seconds"], 1),
        "valid_share": round(measured["reason_items.valid_share"], 4),
        "prefix_hit_rate": round(measured["reason_items.prefix_hit_rate"], 3),
        "wave": settings.reasoning.wave,
    }


def _figures(prompts: int, tokens: int, seconds: float) -> dict[str, Any]:
    return {
        "prompts": prompts,
        "tokens_out": tokens,
        "seconds": round(seconds, 1),
        "tokens_out_per_second": round(tokens / seconds, 1),
    }


def _settings(root: Path, backend: str, urls: tuple[str, ...]) -> Settings:
    return Settings.model_validate(
        {
            "lake": {"root": str(root)},
            # As in conf/demo.yaml: hundreds of rows are interpreted sooner than a query is compiled.
            "spark": {
                "driver_memory": "2g",
                "shuffle_partitions": 2,
                "conf": {
                    "spark.sql.codegen.wholeStage": "false",
                    "spark.sql.codegen.factoryMode": "NO_CODEGEN",
                },
            },
            "reasoning": {
                "backend": backend,
                "mode": "single",
                "max_failed_share": 1.0,
                "server": {"urls": list(urls), "served_model": MODEL_NAME, "timeout_s": 600},
            },
        }
    )


def _catalogue(count: int, seed: int) -> list[tuple[Any, ...]]:
    """Articles of the demo's generator as rows of silver.items."""
    catalogue = build_catalogue(count, NIGHT, np.random.default_rng(seed))
    return [
        (
            article.code,
            article.title,
            article.house,
            list(article.family),
            article.description,
            float(article.price),
            {"material": article.material, "colour": article.colour, "season": article.season},
            True,
            article.launched,
            "x",
        )
        for article in catalogue.articles
    ]


@contextlib.contextmanager
def _server(folder: Path) -> Iterator[tuple[str, float]]:
    """A vLLM server with the settings of the engine; its address and the seconds of its start."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    settings = ReasoningSettings.model_validate({"server": {"served_model": MODEL_NAME}})
    command = server_command(settings, "127.0.0.1", port)
    environment = os.environ | server_variables(settings)
    clock = time.perf_counter()
    with (folder / "server.log").open("wb") as log:
        process = subprocess.Popen(
            # A group of its own, to be ended with its engine; a session of its own would be a task group of its own
            # for Linux, which then shares the cores out between it and the rest of this benchmark half and half.
            command,
            stdout=log,
            stderr=subprocess.STDOUT,
            env=environment,
            process_group=0,
        )
    try:
        while True:
            with contextlib.suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{port}/health"):
                break
            if process.poll() is not None:
                raise SystemExit((folder / "server.log").read_text()[-2000:])
            time.sleep(0.5)
        yield f"http://127.0.0.1:{port}/v1", round(time.perf_counter() - clock, 1)
    finally:
        # Its engine is a child of it; both are in the group that was started here.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        process.wait()


if __name__ == "__main__":
    main()
