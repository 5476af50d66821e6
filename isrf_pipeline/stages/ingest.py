"""Stage ingest: sources to silver and quarantine; every source is validated before any table changes."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from isrf_pipeline.config.settings import ItemSource
from isrf_pipeline.erasure.register import without_erased
from isrf_pipeline.errors import ConfigurationError, InputRefusedError
from isrf_pipeline.evaluation.split import require_held_out_events
from isrf_pipeline.ingest import clients, interactions, items
from isrf_pipeline.ingest.changes import changes_since_last_night
from isrf_pipeline.ingest.fingerprints import source_fingerprints
from isrf_pipeline.ingest.quarantine import (
    SourceCount,
    count_rows,
    only_raw_of_broken,
    quarantined_rows,
    refuse_dirty,
    require_nothing_lost,
)
from isrf_pipeline.ingest.research import read_research_events, research_events_source, research_items
from isrf_pipeline.ingest.sources import Source, read_rows, unreadable
from isrf_pipeline.lake import tables
from isrf_pipeline.logs import log_event
from isrf_pipeline.stages.context import Stage, StageContext

if TYPE_CHECKING:
    from pyspark.sql import DataFrame


@dataclass(frozen=True)
class _Labelled:
    """Rows of one or more sources, each with the rule it breaks, if any; kept in memory until they are written.

    ``erased``: source to its rows of erased clients, once counted.
    """

    rows: DataFrame
    sources: list[Source]
    erased: dict[str, int] = field(default_factory=dict)

    def accepted(self) -> DataFrame:
        return self.rows.where("rule IS NULL")

    def validate(self, max_share: float) -> int:
        """Refuse sources that cannot be read, are empty or too dirty; log counts and return the rows to be written."""
        started = time.perf_counter()
        try:
            counts = count_rows(self.rows, self.sources)
        except Exception as error:
            refused = _not_our_fault(self.sources, error)
            if refused is None:
                raise
            raise refused from error
        for source in self.sources:
            _log(source, counts[source.name], time.perf_counter() - started)
        for source in self.sources:
            refuse_dirty(source, counts[source.name], max_share)
        self.erased.update({name: count.erased for name, count in counts.items()})
        return sum(count.rows - count.erased for count in counts.values())


def run(ctx: StageContext) -> None:
    """Read, label, validate and store this night's sources."""
    from pyspark.sql import functions as F

    catalogue = _catalogue(ctx)
    people = _clients(ctx)
    # Items are counted first: the join below reads them from memory.
    limit = ctx.settings.ingest.max_quarantine_share
    read = catalogue.validate(limit)
    events = _events(ctx, catalogue.accepted())
    read_events = events.validate(limit)
    require_held_out_events(events.accepted(), ctx.settings.split)
    read += read_events + (people.validate(limit) if people is not None else 0)
    ctx.counters.rows_in += read

    before = ctx.counters.rows_out
    labelled = [part.rows for part in (catalogue, events, people) if part is not None]
    ctx.write_together(
        (tables.ITEMS, catalogue.accepted()),
        (tables.INTERACTIONS, events.accepted().withColumn("run_id", F.lit(ctx.run_id))),
        (tables.QUARANTINE, quarantined_rows(labelled, ctx.run_date, ctx.run_id)),
    )
    written = ctx.counters.rows_out - before
    known = people.accepted() if people is not None else None
    ctx.write(tables.CLIENTS, clients.everyone(known, events.accepted()))
    if people is not None:
        assert known is not None
        written += known.count()
    require_nothing_lost(read, written)
    if ctx.lake.exists(tables.ERASED):
        ctx.write_metrics(
            "ingest",
            {
                ("erased_rows", name): rows
                for part in (events, people)
                if part is not None
                for name, rows in part.erased.items()
            },
        )
    for frame in labelled:
        frame.unpersist()
    changes = changes_since_last_night(ctx)
    if changes:
        ctx.write_metrics("changes", changes)


def _catalogue(ctx: StageContext) -> _Labelled:
    from pyspark.sql import functions as F

    settings = ctx.settings.ingest
    source: ItemSource | None = research_items(settings.research) if settings.research else settings.items
    if source is None:
        raise ConfigurationError("ingest.items", "is not set", "name the catalogue, see conf/local.yaml")
    origin = Source("items", source.path, source.format, source.encoding)
    rows = read_rows(ctx.spark, origin, items.mapped_columns(source.columns))
    parsed = items.parse_items(rows, source.columns, origin.name, settings)
    if settings.as_of_night:
        parsed = parsed.where(F.coalesce(F.col("launched_on") <= F.lit(ctx.run_date), F.lit(True)))
    return _Labelled(only_raw_of_broken(parsed, settings.max_row_chars).persist(), [origin])


def _clients(ctx: StageContext) -> _Labelled | None:
    settings = ctx.settings.ingest
    source = settings.clients
    if source is None:
        return None
    origin = Source("clients", source.path, source.format, source.encoding, only_mapped=True)
    rows = read_rows(ctx.spark, origin, clients.mapped_columns(source.columns))
    parsed = _without_erased(
        ctx, clients.parse_clients(rows, source.columns, origin.name, settings), lines_kept=False
    )
    return _Labelled(only_raw_of_broken(parsed, settings.max_row_chars).persist(), [origin])


def _events(ctx: StageContext, known_items: DataFrame) -> _Labelled:
    settings = ctx.settings.ingest
    if settings.research is not None:
        sources = [research_events_source(settings.research)]
        parsed = read_research_events(ctx.spark, settings.research, settings, ctx.run_date)
    elif settings.interactions:
        sources, frames = [], []
        for place, source in enumerate(settings.interactions):
            sources.append(Source(source.name, source.path, source.format, source.encoding))
            rows = read_rows(ctx.spark, sources[-1], interactions.mapped_columns(source))
            frames.append(interactions.parse_events(rows, source, place, settings, ctx.run_date))
        parsed = frames[0]
        for frame in frames[1:]:
            parsed = parsed.unionByName(frame)
    else:
        raise ConfigurationError(
            "ingest.interactions", "names no source", "name at least one, see conf/local.yaml"
        )
    known = interactions.with_known_items(_without_erased(ctx, parsed), known_items)
    labelled = interactions.with_duplicates(known)
    return _Labelled(only_raw_of_broken(labelled, settings.max_row_chars).persist(), sources)


def _without_erased(ctx: StageContext, labelled: DataFrame, lines_kept: bool = True) -> DataFrame:
    """Mark the rows of erased clients, whom the source files still have."""
    if not ctx.lake.exists(tables.ERASED):
        return labelled
    ctx.read(tables.ERASED)
    return without_erased(ctx.lake, labelled, lines_kept)


def _log(source: Source, count: SourceCount, seconds: float) -> None:
    log_event(
        "source_validated",
        source=source.name,
        path=source.path,
        rows=count.rows,
        accepted=count.accepted,
        quarantined=count.quarantined,
        of_erased_clients=count.erased,
        rules=dict(sorted(count.broken.items())),
        seconds=round(seconds, 3),
    )


#: What Spark says where a file, and not the program, is at fault, and only reading the whole of it can tell; the
#: plainest first.
_FILE_FAULTS = (
    "CSV header does not conform",
    "is not a Parquet file",
    "ZipException",
    "Unexpected end of input stream",
    "EOFException",
    "FAILED_READ_FILE",
)


def _not_our_fault(sources: list[Source], error: Exception) -> InputRefusedError | None:
    text = str(error)
    lines = text.splitlines()
    fault = next((line for mark in _FILE_FAULTS for line in lines if mark in line), None)
    if fault is None:
        return None
    at_fault = next((source for source in sources if source.path in text), sources[0])
    return unreadable(at_fault, ValueError(fault))


STAGE = Stage(
    "ingest",
    reads=(tables.ERASED,),
    writes=(tables.INTERACTIONS, tables.ITEMS, tables.CLIENTS, tables.QUARANTINE),
    run=run,
    sources=lambda ctx: source_fingerprints(ctx.spark, ctx.settings.ingest),
)
