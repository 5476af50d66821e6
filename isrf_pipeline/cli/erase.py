"""``isrf erase``: remove clients from the lake, and prove it."""

from __future__ import annotations

import argparse
import datetime
from collections.abc import Sequence
from pathlib import Path

from isrf_pipeline.cli.parser import CommandGroup, add_settings_arguments
from isrf_pipeline.config import Settings, load_settings
from isrf_pipeline.erasure.erase import Erasure, erase
from isrf_pipeline.erasure.history import cleaning_session, forget_history
from isrf_pipeline.erasure.identifiers import clean_identifiers
from isrf_pipeline.erasure.register import lift
from isrf_pipeline.erasure.rows import wanted_frame
from isrf_pipeline.errors import IsrfError, UsageError
from isrf_pipeline.lake import Lake, tables
from isrf_pipeline.run.execution import held_lake
from isrf_pipeline.run.identity import new_run_id
from isrf_pipeline.run.lock import local_root
from isrf_pipeline.run.terminal import say, text_table

#: Findings of the proof that are printed one by one.
_SHOWN = 20


def add_commands(commands: CommandGroup) -> None:
    """Add the command."""
    command = commands.add(
        "erase", "remove clients from tables, history, models, exports and logs, and prove it"
    )
    command.add_argument(
        "--user",
        action="append",
        default=[],
        metavar="U",
        help="client, as named by the source; may be given again",
    )
    command.add_argument(
        "--users-file",
        metavar="F",
        help="file with one client a line, UTF-8; keeps them out of the shell's history",
    )
    command.add_argument("--dry-run", action="store_true", help="only count what would go")
    command.add_argument(
        "--lift",
        action="store_true",
        help="let the next ingest take rows of these clients again; erases nothing",
    )
    add_settings_arguments(command)
    command.set_defaults(command=run_erasure)


def run_erasure(arguments: argparse.Namespace) -> int:
    """Erase, or lift an erasure."""
    identifiers = identifiers_of(arguments.user, arguments.users_file)
    if arguments.lift and arguments.dry_run:
        raise UsageError("--lift --dry-run", "do not go together", "leave one of them out")
    effective = load_settings(arguments.conf_file, arguments.set)
    root = local_root(effective.settings.lake.root)
    if effective.settings.lake.catalog is None and root is not None and not root.is_dir():
        raise UsageError(f"lake.root {root}", "is not there", "check lake.root in the configuration")
    now = datetime.datetime.now(datetime.UTC)
    run_id = new_run_id(now.date(), now)
    clients = f"{len(identifiers):,} client{'' if len(identifiers) == 1 else 's'}"
    purpose = f"lets ingest take {clients} again" if arguments.lift else f"erases {clients}"
    with held_lake(effective, run_id, purpose) as lake:
        if arguments.lift:
            say(_lifted(lake, identifiers, run_id))
            return 0
        done = erase(lake, effective.settings, identifiers, run_id, now, arguments.dry_run)
    for line in summary(done, len(identifiers), effective.settings):
        say(line)
    if done.scan is not None and done.scan.found:
        files = len({path for path, _, _ in done.scan.found})
        raise IsrfError(
            effective.settings.lake.root,
            f"{files:,} of {done.scan.files:,} files still name an erased client or could not be read",
            "see the list above and docs/erasure.md, then erase again",
        )
    return 0


def identifiers_of(given: Sequence[str], file: str | None) -> tuple[str, ...]:
    """Identifiers from the command line and from a file, each once.

    Raises
    ------
    UsageError
        If there is none, or the file cannot be read as UTF-8.
    """
    lines: list[str] = []
    if file is not None:
        try:
            lines = Path(file).read_text(encoding="utf-8-sig").split("\n")
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(
                f"--users-file {file}", f"cannot be read ({type(error).__name__})", "give a UTF-8 text file"
            ) from None
    identifiers = clean_identifiers([*given, *lines])
    if not identifiers:
        raise UsageError("isrf erase", "names no client", "give --user U or --users-file F")
    return identifiers


def _lifted(lake: Lake, identifiers: tuple[str, ...], run_id: str) -> str:
    lake = Lake(cleaning_session(lake.spark), lake.settings)
    count = lift(lake, wanted_frame(lake, identifiers))
    if count:
        forget_history(lake, tables.ERASED, run_id)
    return f"{count:,} of {len(identifiers):,} had been erased; the next ingest takes their rows again"


def summary(done: Erasure, clients: int, settings: Settings) -> list[str]:
    """What was done, what was proved, and what cannot be reached."""
    dry = done.scan is None
    lines = [
        f"{done.unknown:,} of {clients:,} clients: not found, nothing to erase in tables"
        + ("" if dry else "; later ingests leave them out all the same")
    ] * bool(done.unknown)
    if done.rows:
        header = ("table", "rows that would go" if dry else "rows erased")
        lines += text_table(header, [(table, f"{rows:,}") for table, rows in sorted(done.rows.items())])
    learned = [name for name in done.rows if name in tables.ALL_TABLES and tables.ALL_TABLES[name].learned]
    if learned:
        lines.append(
            "models that were trained with a client are gone; the next isrf nightly trains them again"
        )
    lines += [
        f"export {night}: {'names them' if dry else 'written again'}" for night in done.exports.rewritten
    ]
    lines += [
        f"export {night}: removed, as a file of it could not be written again; isrf run export --run-date {night}"
        for night in done.exports.removed
    ]
    if done.scan is None:
        return [*lines, "dry run: nothing was changed"]
    lines.append(f"{done.logs:,} run logs lost a name")
    lines.append(f"scanned {done.scan.files:,} files, {done.scan.size:,} bytes")
    if done.only_values:
        lines.append(
            f"{done.only_values:,} of the identifiers are short, plain words or numbers, or part of other names: "
            "compared as whole values of columns that name clients, not searched for in text"
        )
    if not done.scan.found:
        lines.append(
            f"proof: no file of the lake names {'the client' if clients == 1 else 'any of the clients'}"
        )
    for path, where, _ in done.scan.found[:_SHOWN]:
        lines.append(f"still there: {path} ({where})")
    return [*lines, "not reached:", *[f"  {line}" for line in unreachable(settings)]]


def unreachable(settings: Settings) -> list[str]:
    """Where an erased client may still be: outside of what this lake can change."""
    ingest = settings.ingest
    sources = [source.path for source in ingest.interactions]
    sources += [ingest.clients.path] if ingest.clients is not None else []
    sources += [ingest.research.path] if ingest.research is not None else []
    lines = [f"source files, whose rows of the client ingest leaves out: {', '.join(sources)}"] * bool(
        sources
    )
    lines.append("files that CRM or BI have loaded from earlier exports")
    lines.append("backups, snapshots and kept object versions of the lake")
    checkpoints = settings.spark.conf.get("spark.checkpoint.dir")
    where = f"{checkpoints} and " if checkpoints else ""
    lines.append(f"scratch files of sessions that were killed: {where}temporary folders of the machines")
    if settings.reasoning.backend == "server":
        lines.append("request logs of the language model's servers")
    return lines
