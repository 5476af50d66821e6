"""The whole erasure: remember, delete, rewrite, prove. Killed in the middle, it is finished by running it again."""

from __future__ import annotations

import datetime
import functools
import itertools
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from isrf_pipeline.concurrent_actions import run_together
from isrf_pipeline.config import Settings
from isrf_pipeline.erasure.exported import ExportErasure, erase_from_exports
from isrf_pipeline.erasure.history import cleaning_session, forget_history
from isrf_pipeline.erasure.mentions import delete_quarantined, redact_errors
from isrf_pipeline.erasure.proof import Scan, scan_lake
from isrf_pipeline.erasure.register import remember
from isrf_pipeline.erasure.rows import (
    client_texts,
    delete_all,
    delete_keys,
    delete_rows,
    holds_clients,
    named_in,
    wanted_frame,
)
from isrf_pipeline.erasure.run_logs import redact_logs
from isrf_pipeline.erasure.shared_names import wanted_of
from isrf_pipeline.exports.folder import exports_root, point_to_current
from isrf_pipeline.lake import Lake, tables
from isrf_pipeline.lake.existing import existing_tables
from isrf_pipeline.logs import log_event
from isrf_pipeline.publication.record import current_night
from isrf_pipeline.run.launch import run_log_file
from isrf_pipeline.run.lock import local_root

if TYPE_CHECKING:
    from pyspark.sql import DataFrame


#: Tables that are worked on side by side.
_AT_A_TIME = 4


@dataclass
class Erasure:
    """What an erasure did, or would do.

    Attributes
    ----------
    rows
        Table to the rows that went; tables without any are left out.
    unknown
        How many of the clients no table names.
    only_values
        How many of them were compared as whole values only.
    exports
        What became of the export folders.
    logs
        Run logs that lost a name.
    scan
        The proof; None for a dry run.
    """

    rows: dict[str, int] = field(default_factory=dict)
    unknown: int = 0
    only_values: int = 0
    exports: ExportErasure = field(default_factory=ExportErasure)
    logs: int = 0
    scan: Scan | None = None


def erase(
    lake: Lake,
    settings: Settings,
    identifiers: tuple[str, ...],
    run_id: str,
    now: datetime.datetime,
    dry_run: bool = False,
) -> Erasure:
    """Remove clients from the lake and look for them in all its files.

    Parameters
    ----------
    lake
        The lake, held by this command.
    settings
        Where exports are, and which columns of the sources name clients.
    identifiers
        The clients, as the source names them.
    run_id
        This command's run.
    now
        When it began.
    dry_run
        Whether rows are only counted.
    """
    # A session and a lake of its own: what is allowed here must not be allowed to anyone else.
    lake = Lake(cleaning_session(lake.spark), lake.settings)
    asked = wanted_frame(lake, identifiers)
    wanted = wanted_of(lake, identifiers)
    existing = existing_tables(lake)
    done = Erasure(only_values=len([one for one in identifiers if not wanted.text.looks_for(one)]))
    named = named_in(lake, existing, asked)
    known = {identifier for found in named.values() for identifier in found.identifiers}
    done.unknown = len(identifiers) - len(known)
    if not dry_run:
        # First of all: from here on no ingest brings the clients back, whatever happens.
        remember(lake, asked, run_id, now)
    # Then the models: once rows are gone nothing tells any more that they were trained with a client.
    for table in existing if known else []:
        if table.learned:
            _count(done, table.name, lake.read(table).count() if dry_run else delete_all(lake, table))
    if lake.exists(tables.EMBEDDINGS):
        _count(done, tables.EMBEDDINGS.name, _embeddings(lake, asked, dry_run))
    _count(done, tables.QUARANTINE.name, delete_quarantined(lake, wanted, settings, dry_run))
    _count(done, tables.RUNS.name, redact_errors(lake, wanted, dry_run))
    for name, found in named.items():
        _count(done, name, found.rows)
    if not dry_run:
        _a_few_at_a_time(
            functools.partial(delete_rows, lake, table, asked, named[table.name].columns)
            for table in existing
            if table.name in named
        )
    folder = exports_root(settings)
    if folder is not None:
        done.exports = erase_from_exports(folder, wanted, now.date(), dry_run)
        if done.exports.rewritten and not dry_run:
            # It names the manifest by its content.
            point_to_current(folder, current_night(lake))
    if dry_run:
        return done
    # Also where no row was found: earlier versions may have had some, and a killed erasure may have left them.
    _a_few_at_a_time(
        functools.partial(forget_history, lake, table, run_id) for table in existing if holds_clients(table)
    )
    root = local_root(lake.root)
    if root is not None:
        done.logs = redact_logs(root / "logs", wanted, run_log_file(lake.root, run_id))
    done.scan = scan_lake(lake, wanted, (folder,) if folder is not None else ())
    log_event(
        "erased",
        run_id=run_id,
        clients=len(identifiers),
        unknown=done.unknown,
        rows=done.rows,
        exports_rewritten=done.exports.rewritten,
        exports_removed=done.exports.removed,
        files_scanned=done.scan.files,
        files_that_name_them=len(done.scan.found),
    )
    return done


def _a_few_at_a_time(actions: Iterable[Callable[[], None]]) -> None:
    waiting = iter(actions)
    while some := list(itertools.islice(waiting, _AT_A_TIME)):
        run_together(*some)


def _embeddings(lake: Lake, asked: DataFrame, dry_run: bool) -> int:
    cached = lake.read(tables.EMBEDDINGS).select("text_hash").distinct()
    keys = cached.join(client_texts(lake, asked), "text_hash", "left_semi")
    return keys.count() if dry_run else delete_keys(lake, tables.EMBEDDINGS, keys)


def _count(done: Erasure, table: str, rows: int) -> None:
    if rows:
        done.rows[table] = done.rows.get(table, 0) + rows
