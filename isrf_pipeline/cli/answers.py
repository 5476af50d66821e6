"""``isrf answers``: writes the model's answers to a file that ``reasoning.backend: replay`` reads."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from isrf_pipeline.cli.parser import CommandGroup, add_settings_arguments
from isrf_pipeline.config import load_settings
from isrf_pipeline.errors import UsageError
from isrf_pipeline.lake import tables
from isrf_pipeline.run.reading import open_lake
from isrf_pipeline.run.terminal import say


def add_commands(commands: CommandGroup) -> None:
    """Add the command."""
    answers = commands.add("answers", "record the answers of the language model for reasoning.backend replay")
    add_settings_arguments(answers)
    answers.add_argument("--to", required=True, metavar="FILE", help="file to write, JSON lines")
    answers.set_defaults(command=record_answers)


def record_answers(arguments: argparse.Namespace) -> int:
    """Write one line for each stored answer, dead letters included."""
    path = Path(arguments.to)
    if not path.parent.is_dir():
        raise UsageError(f"--to {path}", "lies in a folder that does not exist", f"mkdir -p {path.parent}")
    effective = load_settings(arguments.conf_file, arguments.set)
    draft = path.with_name(f"{path.name}.part")
    count = 0
    with open_lake(effective) as lake, draft.open("w", encoding="utf-8") as file:
        rows = lake.read(tables.ANSWERS).select("fingerprint", "answer", "raw", "tokens_in", "tokens_out")
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
    say(f"{count:,} answers in {path}")
    return 0
