"""``isrf demo --nights N``: a week of nights on the demo lake, each in a process of its own as a scheduler runs it."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from isrf_pipeline.demo.week import Sources, Week, write_night
from isrf_pipeline.errors import IsrfError
from isrf_pipeline.run.terminal import say

_STOPPED_BY_A_GATE = 4
#: The stage in which one run is killed, and the one before it.
_BEFORE_IT, _KILLED_IN = "build_user_graph", "optimize"


#: Below the demo's folder: how far its week has come.
_MARK = ".nights"


def nights_done(directory: Path, made_by: str) -> int:
    """How many nights of the same week a command before has finished in ``directory``; 0 for another week."""
    mark = directory / _MARK
    if not mark.is_file():
        return 0
    told = json.loads(mark.read_text(encoding="utf-8"))
    return int(told["nights"]) if told["made_by"] == made_by else 0


def run_week(
    whole: Path, directory: Path, file: Path, overrides: Sequence[str], week: Week, made_by: str
) -> None:
    """Run every night of ``week``, with what happens to it; those that a command before has finished are left out.

    Parameters
    ----------
    whole
        Folder of the whole demo lake's source files.
    directory
        Folder of the demo: its subfolder ``raw`` holds the sources of the night, ``lake`` the tables.
    file
        Configuration of the nights.
    overrides
        ``key=value`` settings.
    week
        What happens when.
    made_by
        Tells weeks apart: of another one nothing is left out.

    Raises
    ------
    IsrfError
        If a night ends otherwise than its story wants.
    """
    sources = Sources.read(whole, week)
    raw = directory / "raw"
    raw.mkdir(parents=True, exist_ok=True)
    done = nights_done(directory, made_by)
    if done:
        say(f"{done} of {week.nights} nights are done already; remove {directory} to begin anew")
    for night in range(done + 1, week.nights + 1):
        date = str(week.date_of(night))
        write_night(sources, week, night, raw)
        say()
        say(f"night {night} of {week.nights}, {date}")
        command = [*_isrf(), "nightly", "--conf-file", str(file), "--run-date", date, *_sets(overrides)]
        if night == week.poisoned:
            say(
                "(the views of this night are poisoned: 1,500 visitors who do not exist push twelve articles)"
            )
            _expect(subprocess.run(command, check=False).returncode, _STOPPED_BY_A_GATE, date)
        else:
            if night == week.killed:
                say(f"(this run is killed in the stage {_KILLED_IN}, and started again)")
                _run_and_kill(command)
            _expect(subprocess.run(command, check=False).returncode, 0, date)
        if night == week.erased:
            client = sources.faithful_client()
            say(f"(the client {client} wants to be forgotten)")
            erase = [*_isrf(), "erase", "--user", client, "--conf-file", str(file), *_sets(overrides)]
            _expect(subprocess.run(erase, check=False).returncode, 0, f"erasing {client}")
        mark = json.dumps({"nights": night, "made_by": made_by})
        (directory / _MARK).write_text(mark, encoding="utf-8")


def _run_and_kill(command: Sequence[str]) -> None:
    """Start a run and kill it, and all that it started, as soon as it is in the stage."""
    run = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True)
    assert run.stdout is not None
    for line in run.stdout:
        say(line.rstrip("\n"))
        # A stage is shown when it has ended: the next one has begun.
        if _BEFORE_IT in line:
            break
    with contextlib.suppress(ProcessLookupError):
        os.killpg(run.pid, signal.SIGKILL)
    run.wait()
    run.stdout.close()
    say("(killed)")


def _isrf() -> list[str]:
    return [sys.executable, "-m", "isrf_pipeline"]


def _sets(overrides: Sequence[str]) -> list[str]:
    return [part for override in overrides for part in ("--set", override)]


def _expect(code: int, wanted: int, what: str) -> None:
    if code != wanted:
        raise IsrfError(
            what,
            f"ended with exit code {code} and not {wanted}",
            "read the lines above; isrf status says more",
        )
