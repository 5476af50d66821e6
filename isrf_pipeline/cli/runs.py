"""``isrf run STAGE``, ``isrf nightly`` and ``isrf backfill``."""

from __future__ import annotations

import argparse
import datetime

from isrf_pipeline.cli.parser import CommandGroup, add_run_date_argument, add_settings_arguments
from isrf_pipeline.config import load_settings
from isrf_pipeline.errors import UsageError
from isrf_pipeline.run.execution import execute
from isrf_pipeline.run.identity import parse_run_date
from isrf_pipeline.stages.registry import STAGE_NAMES, require_stage_name, stage_range


def add_commands(commands: CommandGroup) -> None:
    """Add the three commands."""
    run = commands.add("run", "run one stage")
    run.add_argument("stage", metavar="STAGE", help=", ".join(STAGE_NAMES))
    nightly = commands.add(
        "nightly", "run the stages of a night that are not done yet, or whose inputs have changed since"
    )
    nightly.add_argument(
        "--from",
        dest="first",
        metavar="STAGE",
        help="first stage to run; it and those after it run in any case",
    )
    nightly.add_argument("--until", dest="last", metavar="STAGE", help="last stage to run")
    nightly.add_argument("--all", action="store_true", help="run every stage, whatever was done before")
    for command, function in ((run, run_stage), (nightly, run_nightly)):
        add_settings_arguments(command)
        add_run_date_argument(command)
        command.set_defaults(command=function)

    backfill = commands.add("backfill", "run the nights of a range, each with what was known at its end")
    add_settings_arguments(backfill)
    backfill.add_argument("--from", dest="first", required=True, metavar="YYYY-MM-DD", help="first night")
    backfill.add_argument("--until", dest="last", required=True, metavar="YYYY-MM-DD", help="last night")
    backfill.set_defaults(command=run_backfill)


def run_stage(arguments: argparse.Namespace) -> int:
    """Run one stage."""
    require_stage_name(arguments.stage)
    run_date = parse_run_date(arguments.run_date)
    execute(load_settings(arguments.conf_file, arguments.set), run_date, [arguments.stage])
    return 0


def run_nightly(arguments: argparse.Namespace) -> int:
    """Run the stages of a night."""
    names = stage_range(arguments.first, arguments.last)
    run_date = parse_run_date(arguments.run_date)
    skip_fresh = not arguments.all and arguments.first is None
    execute(load_settings(arguments.conf_file, arguments.set), run_date, names, skip_fresh=skip_fresh)
    return 0


def run_backfill(arguments: argparse.Namespace) -> int:
    """Run the nights of a range, the oldest first."""
    first, last = parse_run_date(arguments.first), parse_run_date(arguments.last)
    if first > last:
        raise UsageError(
            f"--from {first} --until {last}", "the first night comes after the last", "swap the two"
        )
    effective = load_settings(arguments.conf_file, [*arguments.set, "ingest.as_of_night=true"])
    for night in (first + datetime.timedelta(days=place) for place in range((last - first).days + 1)):
        execute(effective, night, STAGE_NAMES, skip_fresh=True)
    return 0
