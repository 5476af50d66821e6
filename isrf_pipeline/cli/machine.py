"""``isrf doctor``: what this machine lacks, and the command that mends it."""

from __future__ import annotations

import argparse

from isrf_pipeline.cli.parser import CommandGroup, add_override_argument
from isrf_pipeline.config import load_settings
from isrf_pipeline.environment.doctor import format_results, run_checks
from isrf_pipeline.environment.jars import resolved_jars
from isrf_pipeline.errors import EnvironmentMismatchError
from isrf_pipeline.run.terminal import say


def add_commands(commands: CommandGroup) -> None:
    """Add the command."""
    doctor = commands.add(
        "doctor", "check Java, jars, Python, model, disk and rights; say how to mend what is missing"
    )
    doctor.add_argument(
        "--jars", action="store_true", help="print the jars for spark-submit --jars, and nothing else"
    )
    doctor.add_argument(
        "--conf-file", metavar="FILE", help="check what this environment needs, its lake included"
    )
    add_override_argument(doctor)
    doctor.set_defaults(command=examine)


def examine(arguments: argparse.Namespace) -> int:
    """Print the checks, or the list of jars."""
    if arguments.jars:
        jars = resolved_jars()
        if jars is None:
            raise EnvironmentMismatchError("jars", "are not resolved on this machine", "run make setup")
        say(",".join(jars.jars))
        return 0
    settings = None
    if arguments.conf_file is not None:
        settings = load_settings(arguments.conf_file, arguments.set).settings
    results = run_checks(settings)
    for line in format_results(results).splitlines():
        say(line)
    return 0 if all(result.ok for result in results) else EnvironmentMismatchError.exit_code
