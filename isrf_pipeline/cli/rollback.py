"""``isrf rollback``: make an earlier published night the current one."""

from __future__ import annotations

import argparse
import contextlib

from isrf_pipeline.cli.parser import CommandGroup, add_settings_arguments
from isrf_pipeline.config import load_settings
from isrf_pipeline.errors import ConfigurationError
from isrf_pipeline.exports import export_folder, point_to_current
from isrf_pipeline.exports.current import mark_current_night
from isrf_pipeline.publication.publishing import roll_back
from isrf_pipeline.publication.record import current_night
from isrf_pipeline.run.execution import held_lake
from isrf_pipeline.run.identity import new_run_id, parse_run_date
from isrf_pipeline.run.terminal import say


def add_commands(commands: CommandGroup) -> None:
    """Add the command."""
    rollback = commands.add("rollback", "let consumers see an earlier published night again")
    add_settings_arguments(rollback)
    rollback.add_argument(
        "--run-date", required=True, metavar="YYYY-MM-DD", help="the published night to go back to"
    )
    rollback.set_defaults(command=run_rollback)


def run_rollback(arguments: argparse.Namespace) -> int:
    """Roll back."""
    night = parse_run_date(arguments.run_date)
    run_id = new_run_id(night)
    effective = load_settings(arguments.conf_file, arguments.set)
    with held_lake(effective, run_id, f"goes back to the night {night}") as lake:
        before = current_night(lake)
        roll_back(lake, night, run_id)
        mark_current_night(lake)
        with contextlib.suppress(ConfigurationError):
            # Exports that cannot be written to where the lake is were not written there either.
            exports = export_folder(effective.settings, night).parent
            if exports.is_dir():
                point_to_current(exports, night)
    say(f"consumers see the night {night} again" + (f", in place of {before}" if before else ""))
    return 0
