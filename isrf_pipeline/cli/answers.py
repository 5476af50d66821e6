"""``isrf answers``: how good the stored answers of the model are, and a recording of them for ``replay``."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

from isrf_pipeline.cli.parser import CommandGroup, add_settings_arguments
from isrf_pipeline.config import load_settings
from isrf_pipeline.errors import UsageError
from isrf_pipeline.lake import tables
from isrf_pipeline.run.reading import open_lake
from isrf_pipeline.run.terminal import say, text_table

if TYPE_CHECKING:
    from pyspark.sql import DataFrame


def add_commands(commands: CommandGroup) -> None:
    """Add the command."""
    answers = commands.add(
        "answers", "print how many answers of the language model are valid and what they took; record them"
    )
    add_settings_arguments(answers)
    answers.add_argument(
        "--to", metavar="FILE", help="write the answers as JSON lines, for reasoning.backend replay"
    )
    answers.set_defaults(command=show_answers)


def show_answers(arguments: argparse.Namespace) -> int:
    """Print the shares by step; with ``--to``, also write one line for each stored answer, dead letters included."""
    path = None if arguments.to is None else Path(arguments.to)
    if path is not None and not path.parent.is_dir():
        raise UsageError(f"--to {path}", "lies in a folder that does not exist", f"mkdir -p {path.parent}")
    effective = load_settings(arguments.conf_file, arguments.set)
    with open_lake(effective) as lake:
        answers = lake.read(tables.ANSWERS)
        lines = step_lines(answers)
        recorded = None if path is None else _record(answers, path)
    for line in lines:
        say(line)
    if recorded is not None:
        say(f"{recorded:,} answers in {path}")
    return 0


def step_lines(answers: DataFrame) -> list[str]:
    """Lay out, for each model, prompt version and step: answers, shares of them, and means of one answer.

    Calls and tokens include second attempts.
    """
    from pyspark.sql import functions as F

    # Answers from before calls and cache hits were counted have neither.
    calls = F.coalesce("calls", F.lit(1))
    valid = F.col("status") == "ok"
    rows = (
        answers.groupBy("model", "prompt_version", "kind")
        .agg(
            F.count("*").alias("answers"),
            F.avg(valid.cast("int")).alias("valid"),
            F.avg((valid & (calls > 1)).cast("int")).alias("repaired"),
            F.avg(calls).alias("calls"),
            F.avg("tokens_in").alias("tokens_in"),
            F.avg("tokens_out").alias("tokens_out"),
            (F.coalesce(F.sum("tokens_cached"), F.lit(0)) / F.sum("tokens_in")).alias("cached"),
        )
        .orderBy("model", "prompt_version", "kind")
        .collect()
    )
    header = (
        *("model", "prompts", "step", "answers", "valid", "at the second attempt"),
        *("calls each", "prompt tokens each", "output tokens each", "prefix hits"),
    )
    shown = [
        (
            *(row["model"], row["prompt_version"], row["kind"], f"{row['answers']:,}"),
            *(f"{row['valid']:.1%}", f"{row['repaired']:.1%}", f"{row['calls']:.2f}"),
            *(f"{row['tokens_in']:.1f}", f"{row['tokens_out']:.1f}", f"{row['cached'] or 0:.0%}"),
        )
        for row in rows
    ]
    return text_table(header, shown) if shown else ["no answers yet"]


def _record(answers: DataFrame, path: Path) -> int:
    """Write the answers to ``path``, which is there only when it is whole; their number."""
    draft = path.with_name(f"{path.name}.part")
    count = 0
    with draft.open("w", encoding="utf-8") as file:
        rows = answers.select("fingerprint", "answer", "raw", "tokens_in", "tokens_out")
        # One partition at a time: the recording may be larger than the driver.
        for row in rows.orderBy("fingerprint").toLocalIterator():
            record = {
                "fingerprint": row["fingerprint"],
                "text": row["answer"] if row["answer"] is not None else row["raw"],
                "tokens_in": row["tokens_in"],
                "tokens_out": row["tokens_out"],
            }
            file.write(json.dumps(record, ensure_ascii=False) + "\n")
            count += 1
    draft.replace(path)
    return count
