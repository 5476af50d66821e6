"""Wall time and peak memory of each stage on synthetic lakes of growing size, and how they grow.

    .venv/bin/python benchmarks/scale.py --events 100000 1000000 --out /tmp/scale.json --plot /tmp/scale.svg

Clients and items grow with the events: one client for nine events, one item for sixteen, as in the public sets. Each
size runs the stages of ``isrf benchmark`` in a process of its own, so that neither memory nor compiled queries are left
from the size before. Growth is the ratio of seconds over the ratio of events: 1.0 is linear. The item-item model is
solved in closed form up to ``interaction_graph.max_dense_items`` and item by item beyond; ``--set`` moves that.
"""

from __future__ import annotations

import argparse
import gzip
import importlib.resources
import io
import json
import math
import subprocess
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from nights import FIRST_NIGHT
from pyarrow import csv

from isrf_pipeline.config import load_settings
from isrf_pipeline.evaluation.benchmark import TIMED_STAGES
from isrf_pipeline.evaluation.memory import PeakMemory
from isrf_pipeline.lake import Lake
from isrf_pipeline.session import build_session
from isrf_pipeline.stages.context import StageContext
from isrf_pipeline.stages.registry import load_stage

EVENTS_A_CLIENT = 9
EVENTS_AN_ITEM = 16
#: Items that clients with one taste go through.
ITEMS_A_TASTE = 60


def main() -> None:
    """Run every size and print the figures as JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--events", type=int, nargs="+", default=[100_000, 1_000_000])
    parser.add_argument("--set", action="append", default=[], dest="overrides", metavar="KEY=VALUE")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--plot", type=Path, help="SVG of seconds by stage")
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one is not None:
        print(json.dumps(_one_size(arguments.one, arguments.overrides)))
        return
    sizes = {}
    for events in arguments.events:
        changes = [part for change in arguments.overrides for part in ("--set", change)]
        command = [sys.executable, __file__, "--one", str(events), *changes]
        told = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
        sizes[events] = json.loads(told.splitlines()[-1])
        print(f"{events} events: {sizes[events]['seconds']['total']} s", file=sys.stderr)
    results = {"sizes": sizes, "growth": _growth(sizes)}
    text = json.dumps(results, indent=2)
    if arguments.out is not None:
        arguments.out.write_text(text + "\n")
    if arguments.plot is not None:
        arguments.plot.write_text(_plot({events: size["seconds"] for events, size in sizes.items()}))
    print(text)


def _one_size(events: int, overrides: list[str]) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="isrf-scale-") as folder:
        data, root = Path(folder) / "data", Path(folder) / "lake"
        counts = _write_set(data, events)
        base = importlib.resources.files("isrf_pipeline.evaluation") / "benchmark.yaml"
        with importlib.resources.as_file(base) as file:
            fixed = [f"lake.root={json.dumps(str(root))}", f"ingest.research.path={json.dumps(str(data))}"]
            settings = load_settings(file, [*fixed, *overrides]).settings
        spark = build_session(settings)
        lake = Lake(spark, settings.lake)
        seconds: dict[str, float] = {}
        peaks: dict[str, int] = {}
        for name in TIMED_STAGES:
            started = time.perf_counter()
            with PeakMemory() as memory:
                load_stage(name).run(StageContext(spark, settings, lake, FIRST_NIGHT, "scale"))
            spark.catalog.clearCache()
            seconds[name] = round(time.perf_counter() - started, 1)
            peaks[name] = round(memory.peak_mb)
            print(
                f"{events} events, {name}: {seconds[name]} s, {peaks[name]} MiB", file=sys.stderr, flush=True
            )
        seconds["total"] = round(sum(seconds.values()), 1)
        return {**counts, "seconds": seconds, "peak_rss_mb": peaks}


def _write_set(folder: Path, events: int) -> dict[str, int]:
    """Write a research set: each client has one taste, and within it the next item stands mostly behind the last."""
    rng = np.random.default_rng(events)
    clients, items = max(1, events // EVENTS_A_CLIENT), max(10, events // EVENTS_AN_ITEM)
    tastes = max(1, items // ITEMS_A_TASTE)
    lengths = 5 + rng.geometric(1 / (EVENTS_A_CLIENT - 4), clients) - 1
    owner = np.repeat(np.arange(clients), lengths)
    position = np.arange(len(owner)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    # A walk of steps of one to three through the items of the client's taste; one event in seven is of another.
    steps = np.where(rng.random(len(owner)) < 0.6, 1, rng.integers(2, 4, len(owner)))
    walked = np.cumsum(steps)
    walked -= np.repeat(walked[np.cumsum(lengths) - lengths], lengths)
    place = (rng.integers(0, ITEMS_A_TASTE, clients)[owner] + walked) % ITEMS_A_TASTE
    item = rng.integers(0, tastes, clients)[owner] + tastes * place
    item = np.where(rng.random(len(owner)) < 1 / 7, rng.integers(0, items, len(owner)), item) % items
    days = np.sort(rng.integers(0, 900, len(owner)) + 1000 * owner) % 1000
    dates = np.datetime64("2012-01-01") + days
    pairs = pa.table(
        {
            "user_id": pa.array(np.char.add("A", owner.astype(str))),
            "item_id": pa.array(np.char.add("B", item.astype(str))),
            "position": position + 1,
            "event_date": pa.array(dates.astype("datetime64[D]").astype(str)),
            "date_imputed": np.zeros(len(owner), np.int64),
        }
    )
    folder.mkdir()
    written = io.BytesIO()
    csv.write_csv(pairs, written, csv.WriteOptions(quoting_style="none"))
    (folder / "interactions.csv.gz").write_bytes(gzip.compress(written.getvalue(), 1))
    words = [f"{a}{b}" for a in "bdfgklmnprstvz" for b in ("ado", "eli", "ino", "oru", "ulm")]
    with gzip.open(folder / "items.jsonl.gz", "wt", encoding="utf-8", compresslevel=1) as lines:
        for code in range(items):
            taste, chosen = code % tastes, rng.integers(0, len(words), 2)
            own = words[taste % len(words)], words[taste // len(words) % len(words)]
            row = {
                "item_id": f"B{code}",
                "title": " ".join([*own, *(words[word] for word in chosen)]),
                "brand": f"House {taste % 500}",
                "categories": [["All", f"Group {taste % 40}", f"Kind {taste}"]],
                "price": round(float(rng.lognormal(3.0, 0.6)), 2),
                "keyphrases": None,
            }
            lines.write(json.dumps(row) + "\n")
    return {"events": len(owner), "clients": clients, "items": items}


def _growth(sizes: dict[int, dict[str, Any]]) -> dict[str, dict[str, float]]:
    """From one size to the next: stage to the ratio of its seconds over the ratio of events."""
    return {
        f"{small} to {large}": {
            stage: round(
                spent
                / max(sizes[small]["seconds"][stage], 0.1)
                / (sizes[large]["events"] / sizes[small]["events"]),
                2,
            )
            for stage, spent in sizes[large]["seconds"].items()
        }
        for small, large in pairwise(sorted(sizes))
    }


def _plot(seconds: dict[int, dict[str, float]]) -> str:
    """SVG of seconds over events, both logarithmic, one line a stage; the dashed line is linear growth."""
    width, height, left, bottom = 640, 400, 50, 40
    colours = ("#1b6ca8", "#c05621", "#2f855a", "#6b46c1", "#b83280", "#4a5568", "#975a16", "#000000")
    sizes = sorted(seconds)
    low_x, high_x = math.log10(sizes[0]), max(math.log10(sizes[-1]), math.log10(sizes[0]) + 1)
    high_y = math.ceil(math.log10(max(seconds[sizes[-1]].values()) + 1))

    def at(events: float, spent: float) -> tuple[float, float]:
        x = left + (math.log10(events) - low_x) / (high_x - low_x) * (width - left - 190)
        y = height - bottom - max(math.log10(max(spent, 1.0)), 0) / high_y * (height - bottom - 20)
        return round(x, 1), round(y, 1)

    def line(points: list[tuple[float, float]], style: str) -> str:
        return f'<polyline fill="none" {style} points="{" ".join(f"{x},{y}" for x, y in points)}"/>'

    parts = [f'<rect width="{width}" height="{height}" fill="white"/>']
    for power in range(high_y + 1):
        x, y = at(sizes[0], 10**power)
        parts.append(f'<text x="{x - 8}" y="{y + 4}" text-anchor="end">{10**power} s</text>')
        parts.append(line([(x, y), (width - 190, y)], 'stroke="#ddd"'))
    for events in sizes:
        x, _ = at(events, 1)
        parts.append(f'<text x="{x}" y="{height - 18}" text-anchor="middle">{events:,}</text>')
    first = seconds[sizes[0]]["total"]
    linear = [at(events, first * events / sizes[0]) for events in sizes]
    parts.append(line(linear, 'stroke="#999" stroke-dasharray="5 4"'))
    for place, (stage, colour) in enumerate(zip(seconds[sizes[0]], colours, strict=True)):
        points = [at(events, seconds[events][stage]) for events in sizes]
        parts.append(line(points, f'stroke="{colour}" stroke-width="{3 if stage == "total" else 1.5}"'))
        parts.append(f'<text x="{width - 180}" y="{40 + 18 * place}" fill="{colour}">{stage}</text>')
    parts.append(f'<text x="{left}" y="14">seconds by number of events (dashed: linear)</text>')
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
        f'font-family="sans-serif" font-size="12">{"".join(parts)}</svg>\n'
    )


if __name__ == "__main__":
    main()
