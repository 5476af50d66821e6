"""``isrf status``."""

from __future__ import annotations

import argparse
import datetime
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from isrf_pipeline.cli.parser import CommandGroup, add_settings_arguments
from isrf_pipeline.config import EffectiveSettings, load_settings
from isrf_pipeline.lake import tables
from isrf_pipeline.run.lease import lease_holder
from isrf_pipeline.run.lock import local_root, lock_holder
from isrf_pipeline.run.reading import open_lake
from isrf_pipeline.run.records import last_runs
from isrf_pipeline.run.terminal import duration, say, text_table

if TYPE_CHECKING:
    from pyspark.sql import Row


def add_commands(commands: CommandGroup) -> None:
    """Add the command."""
    status = commands.add("status", "print the last runs of a lake, and what to do about a failed one")
    add_settings_arguments(status)
    status.add_argument(
        "--last", type=int, default=10, metavar="N", help="how many runs to print; 10 if absent"
    )
    status.set_defaults(command=print_status)


def print_status(arguments: argparse.Namespace) -> int:
    """Print the last runs."""
    effective = load_settings(arguments.conf_file, arguments.set)
    root = local_root(effective.settings.lake.root)
    holder = lock_holder(root) if root is not None else None
    if holder is not None:
        state = "left its lock behind; the next run takes it over" if holder.is_dead() else "is running"
        say(f"{holder} {state}")
    for line in _lines(effective, root, arguments.last, arguments.conf_file):
        say(line)
    return 0


def _lines(effective: EffectiveSettings, root: Path | None, count: int, conf_file: str) -> list[str]:
    lake_root = effective.settings.lake.root
    nothing = f"no run is recorded in {lake_root} yet; start one with isrf nightly --conf-file {conf_file}"
    if effective.settings.lake.catalog is None and root is not None and not root.exists():
        return [nothing]
    with open_lake(effective) as lake:
        runs = last_runs(lake, max(count, 1)) if lake.exists(tables.RUNS) else []
        holder = lease_holder(lake) if root is None else None
    held = [] if holder is None else [f"{holder} holds the lake"]
    return held + (runs_table(runs, conf_file) if runs else [nothing])


def runs_table(runs: Sequence[Sequence[Row]], conf_file: str) -> list[str]:
    """Lay out runs, newest first, with what to do about each failed one below its line.

    Parameters
    ----------
    runs
        Rows of ops.runs, those of one run together and in the order its stages ran.
    conf_file
        Named in the command that goes on with a failed run.
    """
    header = (
        "run",
        "night",
        "started (UTC)",
        "status",
        "stages",
        "time",
        "rows written",
        "LLM calls",
        "tokens",
    )
    lines = text_table(header, [_cells(rows) for rows in runs])
    told = [lines[0]]
    for rows, line in zip(runs, lines[1:], strict=True):
        told.append(line)
        for row in rows:
            if row["status"] == "failed":
                again = (
                    f"isrf nightly --conf-file {conf_file} --run-date {row['run_date']} --from {row['stage']}"
                )
                told += [
                    f"    {row['stage']} failed: {row['error']}",
                    f"    mend that, then go on with: {again}",
                ]
            elif row["status"] == "partial":
                told.append(
                    f"    {row['stage']} is partial: {row['error']}; the next night goes on from there"
                )
    return told


def _status(of_stages: set[str]) -> str:
    return next((status for status in ("failed", "partial") if status in of_stages), "done")


def _cells(rows: Sequence[Row]) -> tuple[str, ...]:
    stages = (
        rows[0]["stage"] if len(rows) == 1 else f"{rows[0]['stage']} .. {rows[-1]['stage']} ({len(rows)})"
    )
    started: datetime.datetime = rows[0]["started_at"].astimezone(datetime.UTC)
    return (
        rows[0]["run_id"],
        str(rows[0]["run_date"]),
        f"{started:%Y-%m-%d %H:%M}",
        _status({row["status"] for row in rows}),
        stages,
        duration(sum(row["seconds"] for row in rows)),
        f"{sum(row['rows_out'] or 0 for row in rows):,}",
        f"{sum(row['llm_calls'] for row in rows):,}",
        f"{sum(row['llm_tokens'] for row in rows):,}",
    )
