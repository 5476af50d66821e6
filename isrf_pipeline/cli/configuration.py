"""``isrf config show`` and ``isrf config describe``."""

from __future__ import annotations

import argparse

from isrf_pipeline.cli.parser import CommandGroup, add_settings_arguments
from isrf_pipeline.config import load_settings
from isrf_pipeline.config.description import settings_table
from isrf_pipeline.run.terminal import say, text_table


def add_commands(commands: CommandGroup) -> None:
    """Add the command and its two parts."""
    config = commands.add("config", "show or describe the settings")
    parts = config.add_commands("parts")
    show = parts.add(
        "show", "print the effective settings and where each value came from; secrets stay hidden"
    )
    add_settings_arguments(show)
    show.set_defaults(command=show_settings)
    describe = parts.add(
        "describe", "print every setting with type, default and meaning, as docs/configuration.md has it"
    )
    describe.set_defaults(command=describe_settings)


def show_settings(arguments: argparse.Namespace) -> int:
    """Print the effective settings."""
    effective = load_settings(arguments.conf_file, arguments.set)
    say(f"# config_hash {effective.config_hash}")
    rows = [(key, f"from {origin}", value) for key, value, origin in effective.rows()]
    for line in text_table(("key", "origin", "value"), rows):
        say(line)
    return 0


def describe_settings(arguments: argparse.Namespace) -> int:
    """Print the table of all settings."""
    for line in settings_table():
        say(line)
    return 0
