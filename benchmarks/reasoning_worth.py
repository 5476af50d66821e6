"""What the language model's reasoning over articles is worth on a research set, against their attributes alone.

    .venv/bin/python benchmarks/reasoning_worth.py --data ../shared/data/beauty --out /tmp/worth.json \
        [--answers ../shared/data/beauty/reasoning.jsonl.gz] [--own 500 | --own-answers FILE]

Every way is a night of its own on one lake, from reason_items to recommend: "attributes only", in which title, house
with categories, and the whole text are fields of their own already, so that a model is credited with nothing that the
catalogue says by itself; answers of a large model, as a file names them item by item (``--answers``; reasoning.jsonl.gz
of the data folder where it is there); and the bundled model's own answers, asked for now (``--own N``, the articles
that clients chose first) or out of a recording of ``isrf answers --to`` (``--own-answers``). Articles without an
acceptable answer keep their attributes. Clients have no texts in any way: only what is known of articles differs.

Printed are NDCG@10 and HR@10 of the test event by slice and the gain over "attributes only" with the 95 % interval of a
paired bootstrap over clients; how many answers were refused and why; and which of the model's words validation kept.
"""

from __future__ import annotations

import argparse
import datetime
import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nights import (
    METRICS,
    accuracy_of_nights,
    chosen_settings,
    first_is_better_by,
    judged_clients,
    nights_of,
    research_settings,
    run_stage,
    slices_of,
)

from isrf_pipeline.config import Settings
from isrf_pipeline.lake import Lake, tables
from isrf_pipeline.reasoning.recording import record_by_item
from isrf_pipeline.session import build_session

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

ATTRIBUTES = "attributes only"
LARGE = "with the large model's answers"
OWN = "with the small model's own"
#: Items with at most five training events, those without any included.
RARE = "item at most 5"
_TOLD = ("all", RARE, "category new")
#: Nobody's model runs under that name: the fingerprint tells these answers from those of the configured one.
_LARGE_MODEL = "large model of the data set"


def main() -> None:
    """Run every way and print the figures."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--answers", type=Path, help="answers of a large model by item")
    own = parser.add_mutually_exclusive_group()
    own.add_argument("--own", type=int, metavar="N", help="ask the bundled model about so many articles")
    own.add_argument(
        "--own-answers", type=Path, metavar="FILE", help="recording of the bundled model's answers"
    )
    parser.add_argument("--own-mode", default="single", help="reasoning.mode of the bundled model")
    parser.add_argument("--set", action="append", default=[], dest="overrides", metavar="KEY=VALUE")
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="isrf-worth-") as folder:
        results = _measure(Path(folder), arguments)
    if arguments.out is not None:
        arguments.out.write_text(json.dumps(results, indent=2) + "\n")
    print("\n".join(table(results)))


def table(results: dict[str, Any]) -> list[str]:
    """Lines of a Markdown table: a way a line, a slice a column, gains over the attributes alone with intervals."""
    lines = ["| NDCG@10 | " + " | ".join(_TOLD) + " |", "|---|" + "---|" * len(_TOLD)]
    for way, found in results["ways"].items():
        cells = []
        for slice_ in _TOLD:
            figures = found["slices"][slice_]
            cell = f"{figures['NDCG@10']:.4f}"
            if way != ATTRIBUTES:
                base = results["ways"][ATTRIBUTES]["slices"][slice_]["NDCG@10"]
                gain, low, high = figures["NDCG@10 gain"]
                cell += f" ({gain / base:+.1%}: {gain:+.4f}, {low:+.4f} to {high:+.4f})"
            cells.append(cell)
        lines.append(f"| {way} | " + " | ".join(cells) + " |")
    for way, found in results["ways"].items():
        lines.append(f"{way}: items {json.dumps(found['items'])}, fields {json.dumps(found['fields'])}")
    return lines


def _ways(root: Path, arguments: argparse.Namespace) -> dict[str, list[str]]:
    """Settings of each way beside those of the benchmark."""
    ways = {ATTRIBUTES: ["reasoning.backend=none"]}
    if _answers(arguments) is not None:
        ways[LARGE] = [
            "reasoning.backend=replay",
            "reasoning.mode=free",
            f"reasoning.engine.model={json.dumps(_LARGE_MODEL)}",
            f"reasoning.replay.path={json.dumps(str(root / 'large.jsonl'))}",
        ]
    if arguments.own is not None:
        asked = [f"reasoning.items.max_items={arguments.own}", "reasoning.users.enabled=false"]
        ways[OWN] = [*asked, "reasoning.backend=engine", f"reasoning.mode={arguments.own_mode}"]
    elif arguments.own_answers is not None:
        path = json.dumps(str(arguments.own_answers.absolute()))
        ways[OWN] = [
            "reasoning.backend=replay",
            f"reasoning.mode={arguments.own_mode}",
            f"reasoning.replay.path={path}",
        ]
    # What is refused, or not in a recording, falls back on attributes: that is part of what is measured.
    return {way: [*changes, "reasoning.max_failed_share=1"] for way, changes in ways.items()}


def _answers(arguments: argparse.Namespace) -> Path | None:
    beside: Path = arguments.data / "reasoning.jsonl.gz"
    given: Path | None = arguments.answers
    return given or (beside if beside.is_file() else None)


def _measure(root: Path, arguments: argparse.Namespace) -> dict[str, Any]:
    # Texts that several ways share are encoded once.
    shared = ["embedding.cache=true", *arguments.overrides]
    ways = _ways(root, arguments)
    settings = {
        way: research_settings(root / "lake", arguments.data, [*changes, *shared])
        for way, changes in ways.items()
    }
    plain, nights = settings[ATTRIBUTES], nights_of([*ways])
    lake = Lake(build_session(plain), plain.lake)
    run_stage(plain, lake, "ingest", nights[ATTRIBUTES])
    results: dict[str, Any] = {"dataset": arguments.data.name, "ways": {}}
    for way, night in nights.items():
        found: dict[str, Any] = {}
        if way == LARGE:
            source = _answers(arguments)
            assert source is not None
            written = record_by_item(
                lake.read(tables.ITEMS), source, settings[way].reasoning, root / "large.jsonl"
            )
            found["recorded"] = vars(written)
        found["seconds"] = _run_night(lake, settings[way], plain, night)
        found["items"] = _items_by_origin(lake)
        found["fields"] = [row.asDict() for row in lake.read(tables.FIELD_WEIGHTS).collect()]
        found["chosen"] = chosen_settings(lake, night)
        results["ways"][way] = found
    values = accuracy_of_nights(lake, _with_rare(judged_clients(lake, plain)), nights)
    for way, found in results["ways"].items():
        found["slices"] = {slice_: _figures(values, way, slice_) for slice_ in slices_of(values)}
    return results


def _run_night(
    lake: Lake, settings: Settings, without_texts: Settings, night: datetime.date
) -> dict[str, float]:
    return {
        name: run_stage(without_texts if name == "reason_users" else settings, lake, name, night)
        for name in (
            "reason_items",
            "build_interaction_graph",
            "reason_users",
            "build_user_graph",
            "optimize",
            "recommend",
        )
    }


def _figures(values: dict[tuple[str, str], float], way: str, slice_: str) -> dict[str, Any]:
    figures: dict[str, Any] = {}
    for metric in METRICS:
        figures[metric] = round(values[f"{way}.{metric}", slice_], 5)
        if way != ATTRIBUTES:
            loss, low, high = first_is_better_by(values, ATTRIBUTES, way, metric, slice_)
            figures[f"{metric} gain"] = [-loss, -high, -low]
    return figures


def _items_by_origin(lake: Lake) -> dict[str, int]:
    """Items whose features a model wrote, and others by the reason why not."""
    from pyspark.sql import functions as F

    # What stands in brackets differs from answer to answer.
    reason = F.substring_index(F.coalesce("reason", "origin"), " (", 1)
    rows: Sequence[Any] = lake.read(tables.ITEM_FEATURES).groupBy(reason.alias("why")).count().collect()
    return {row["why"]: row["count"] for row in sorted(rows, key=lambda row: -row["count"])}


def _with_rare(judged: DataFrame) -> DataFrame:
    from pyspark.sql import functions as F

    rare = F.arrays_overlap("slices", F.array(F.lit("item unseen"), F.lit("item<=5")))
    return judged.withColumn(
        "slices", F.when(rare, F.array_append("slices", F.lit(RARE))).otherwise(F.col("slices"))
    )


if __name__ == "__main__":
    main()
