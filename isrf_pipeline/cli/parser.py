"""Arguments of the command line; whoever mistypes one is told the nearest right one."""

from __future__ import annotations

import argparse
import difflib
from collections.abc import Iterable, Sequence
from typing import Any, NoReturn

from isrf_pipeline.errors import UsageError


class CommandParser(argparse.ArgumentParser):
    """Parser that raises a :class:`UsageError` of one line instead of printing its usage and leaving."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **{"allow_abbrev": False, **options})
        self.commands: dict[str, CommandParser] = {}

    def error(self, message: str) -> NoReturn:
        """Refuse the arguments."""
        raise UsageError(self.prog, message, f"see {self.prog} --help")

    def add_commands(self, title: str) -> CommandGroup:
        """Make this parser one of several commands."""
        actions = self.add_subparsers(title=title, metavar="COMMAND", parser_class=CommandParser)
        return CommandGroup(self, actions)

    def check_names(self, given: Sequence[str]) -> None:
        """Refuse a mistyped command or option, before anything else is found wrong.

        Raises
        ------
        UsageError
            Naming the nearest command or option.
        """
        if self.commands and not (given and given[0].startswith("-")):
            if not given:
                raise UsageError(self.prog, "needs a command", f"the commands are {', '.join(self.commands)}")
            if given[0] not in self.commands:
                raise UsageError(
                    f"{self.prog} {given[0]}", "is not a command", nearest(given[0], self.commands)
                )
            self.commands[given[0]].check_names(given[1:])
            return
        known = [option for action in self._actions for option in action.option_strings]
        for argument in given:
            if argument == "--":
                return
            name = argument.partition("=")[0]
            if name.startswith("--") and name not in known:
                raise UsageError(f"{self.prog} {name}", "is not an option", nearest(name, known))


class CommandGroup:
    """Commands of one parser; see :meth:`CommandParser.add_commands`."""

    def __init__(self, parent: CommandParser, actions: argparse._SubParsersAction[CommandParser]) -> None:
        self._parent = parent
        self._actions = actions

    def add(self, name: str, summary: str) -> CommandParser:
        """Add the command ``name``."""
        command = self._actions.add_parser(name, help=summary, description=summary)
        self._parent.commands[name] = command
        return command


def nearest(name: str, known: Iterable[str]) -> str:
    """Mend for a mistyped ``name``: the nearest of ``known``, or all of them."""
    names = list(known)
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    return f"did you mean '{near[0]}'" if near else f"choose among {', '.join(names)}"


def add_settings_arguments(command: CommandParser) -> None:
    """Add ``--conf-file`` and ``--set``."""
    command.add_argument(
        "--conf-file", required=True, metavar="FILE", help="YAML file of the environment, see conf/"
    )
    add_override_argument(command)


def add_override_argument(command: CommandParser) -> None:
    """Add ``--set``."""
    command.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="override one setting; may be given again",
    )


def add_run_date_argument(command: CommandParser) -> None:
    """Add ``--run-date``."""
    command.add_argument(
        "--run-date", metavar="YYYY-MM-DD", help="night of the run; yesterday (UTC) if absent"
    )
