"""Entry of the command line: runs one command and turns whatever goes wrong into one line and a code."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from types import FrameType

from isrf_pipeline import __version__
from isrf_pipeline.cli import (
    answers,
    benchmark,
    campaign,
    configuration,
    demo,
    erase,
    explain,
    machine,
    plan,
    rollback,
    runs,
    serve,
    status,
)
from isrf_pipeline.cli.parser import CommandParser
from isrf_pipeline.errors import IsrfError
from isrf_pipeline.logs import configure_logging, log_failure
from isrf_pipeline.run.failures import known_error, one_line
from isrf_pipeline.run.launch import temporary_log_folder
from isrf_pipeline.run.terminal import allow_any_text, complain

#: Exit code of a run that the user stopped, as shells have it (128 + SIGINT).
INTERRUPTED = 130
#: And of one that a scheduler stopped (128 + SIGTERM).
TERMINATED = 143

_UNEXPECTED = 1


def build_parser() -> CommandParser:
    """Build the parser of all commands."""
    parser = CommandParser(
        prog="isrf",
        description="Nightly recommendations with readable reasons, from explicit and implicit interests.",
        epilog="Exit codes: 0 done, 1 unexpected failure, 2 wrong usage or configuration, 3 input refused, "
        "4 stopped by a quality gate, 5 another run holds the lake.",
    )
    parser.add_argument("--version", action="version", version=f"isrf {__version__}")
    commands = parser.add_commands("commands")
    for module in (
        machine,
        demo,
        runs,
        plan,
        status,
        rollback,
        explain,
        campaign,
        erase,
        answers,
        serve,
        configuration,
        benchmark,
    ):
        module.add_commands(commands)
    return parser


class _Terminated(KeyboardInterrupt):
    """The process was asked to end."""


@contextlib.contextmanager
def _ended_by_sigterm() -> Iterator[None]:
    """Let SIGTERM, which schedulers send, unwind the run as an interruption does: it lets go of the lake."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def end(number: int, frame: FrameType | None) -> None:
        raise _Terminated

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Parameters
    ----------
    argv
        Arguments without the program's name; None takes the process's own.

    Returns
    -------
    int
        The exit code: 0 done; 1 unexpected failure; 2 wrong usage or configuration; 3 input refused;
        4 stopped by a quality gate; 5 another run holds the lake; 130 interrupted; 143 ended by SIGTERM.
    """
    given = list(sys.argv[1:] if argv is None else argv)
    allow_any_text()
    try:
        parser = build_parser()
        parser.check_names(given)
        arguments = parser.parse_args(given)
        command: Callable[..., int] = arguments.command
        with _ended_by_sigterm():
            return command(arguments)
    except IsrfError as error:
        complain(str(error))
        return error.exit_code
    except _Terminated:
        complain("ended by SIGTERM; what finished stages wrote stays, isrf nightly goes on from there.")
        return TERMINATED
    except KeyboardInterrupt:
        complain("interrupted; what finished stages wrote stays, isrf status says where to go on.")
        return INTERRUPTED
    except BrokenPipeError:
        # The reader of our output has seen enough; nothing may be written to it any more, at exit neither.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 0
    except SystemExit as leaving:
        return leaving.code if isinstance(leaving.code, int) else 0
    except Exception as error:
        known = known_error(error, [tempfile.gettempdir()])
        if known is not None:
            complain(str(known))
            return known.exit_code
        log_file = temporary_log_folder() / f"isrf-{os.getpid()}.log"
        configure_logging(log_file)
        log_failure("command_failed", arguments=_without_values(given))
        complain(f"{one_line(error)}: was not expected; the trace is in {log_file}.")
        return _UNEXPECTED


def _without_values(given: Sequence[str]) -> list[str]:
    """Arguments with the keys of overrides alone: their values may be secrets that nobody has read as such yet."""
    after_set = ["", *given]
    return [
        re.sub(r"=.*", "=…", argument, flags=re.DOTALL)
        if before == "--set"
        else re.sub(r"^(--set=[^=]*=).*", r"\1…", argument, flags=re.DOTALL)
        for before, argument in zip(after_set, given, strict=False)
    ]
