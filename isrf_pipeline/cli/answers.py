"""``isrf answers``: how good the stored answers of the model are, and recordings for ``replay``."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from isrf_pipeline.cli.parser import CommandGroup, add_settings_arguments
from isrf_pipeline.config import load_settings
from isrf_pipeline.errors import UsageError
from isrf_pipeline.lake import tables
from isrf_pipeline.reasoning.recording import Recorded, record_by_item, write_recording
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
    answers.add_argument(
        "--from",
        dest="source",
        metavar="FILE",
        help="take not the lake's answers but those of a file that names items (item_id, feature, tags, and who_for "
        "and who_not_for if known), written elsewhere from the catalogue",
    )
    answers.set_defaults(command=show_answers)


def show_answers(arguments: argparse.Namespace) -> int:
    """Print the shares by step; with ``--to``, also write one line for each stored answer, dead letters included.

    With ``--from`` the recording is made of a file of answers by item instead, and what became of them is printed.
    """
    path = None if arguments.to is None else Path(arguments.to)
    if path is not None and not path.parent.is_dir():
        raise UsageError(f"--to {path}", "lies in a folder that does not exist", f"mkdir -p {path.parent}")
    if arguments.source is not None and path is None:
        raise UsageError(f"--from {arguments.source}", "needs a file to write to", "add --to FILE")
    effective = load_settings(arguments.conf_file, arguments.set)
    with open_lake(effective) as lake:
        if arguments.source is not None and path is not None:
            items = lake.read(tables.ITEMS)
            recorded = record_by_item(items, Path(arguments.source), effective.settings.reasoning, path)
            lines = recorded_lines(recorded, path)
        else:
            answers = lake.read(tables.ANSWERS)
            lines = step_lines(answers)
            if path is not None:
                lines.append(f"{write_recording(answer_texts(answers), path):,} answers in {path}")
    for line in lines:
        say(line)
    return 0


def recorded_lines(recorded: Recorded, path: Path) -> list[str]:
    """Lay out what became of a file of answers by item; what is nought is left out."""
    lost = {
        "lines are no answer": recorded.malformed,
        "lines repeat an item": recorded.repeated,
        "items are not in the catalogue": recorded.unknown,
        "items have the prompt of another, whose answer they take": recorded.shared,
        **{f"answers will be refused: {rule}": count for rule, count in recorded.refusals.items()},
    }
    told = [f"{count:,} {what}" for what, count in lost.items() if count]
    return [f"{recorded.lines:,} lines read", *told, f"{recorded.recorded:,} answers in {path}"]


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


def answer_texts(answers: DataFrame) -> DataFrame:
    """Stored answers as a recording holds them; of dead letters what the model wrote."""
    from pyspark.sql import functions as F

    return answers.select("fingerprint", F.coalesce("answer", "raw").alias("text"), "tokens_in", "tokens_out")
