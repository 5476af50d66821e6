"""What has changed in the sources since the night before: for people who ask why tonight's lists are others."""

from __future__ import annotations

from typing import TYPE_CHECKING

from isrf_pipeline.lake import Table, tables
from isrf_pipeline.logs import log_event
from isrf_pipeline.run.records import newest_first
from isrf_pipeline.stages.context import StageContext

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

_STAGE = "ingest"


def changes_since_last_night(ctx: StageContext) -> dict[tuple[str, str], float]:
    """Counts of changes of clients, articles and events against the last earlier night that was ingested.

    Tables are compared with the versions that this night left, so that a repeated night tells the same. Where an
    erasure has removed these since, they are compared with what it left. Nothing where there was no night before, or
    where maintenance has removed its versions.

    Parameters
    ----------
    ctx
        The stage ingest, which has written its tables.

    Returns
    -------
    dict
        (measure, "all") to rows.
    """
    from py4j.protocol import Py4JJavaError
    from pyspark.errors import PySparkException

    before = _versions_before(ctx)
    if before is None:
        return {}
    try:
        items, clients, events = (
            (ctx.lake.read_version(table, before[table.name]), ctx.stored(table))
            for table in (tables.ITEMS, tables.CLIENTS, tables.INTERACTIONS)
        )
        return {
            (name, "all"): float(count)
            for name, count in {
                **_item_changes(*items),
                **_client_changes(*clients),
                "more_events": events[1].count() - events[0].count(),
            }.items()
        }
    except (PySparkException, Py4JJavaError) as error:
        # Maintenance has removed these versions; what tonight brings is no worse for it.
        log_event("no_version_to_compare_with", error=str(error).splitlines()[0])
        return {}


def _versions_before(ctx: StageContext) -> dict[str, int] | None:
    """Version of each table that is compared with; None where one of them has none that this night did not write."""
    from pyspark.sql import functions as F

    if not ctx.lake.exists(tables.RUNS):
        return None
    ingested = ctx.lake.read(tables.RUNS).where((F.col("stage") == _STAGE) & (F.col("status") == "done"))
    row = (
        ingested.where(F.col("run_date") < F.lit(ctx.run_date))
        .orderBy(F.desc("run_date"), *newest_first())
        .select("output_versions")
        .first()
    )
    if row is None or row[0] is None:
        return None
    tonight = ingested.where(F.col("run_date") == F.lit(ctx.run_date)).select("output_versions").collect()
    found: dict[str, int] = {}
    for table in (tables.ITEMS, tables.CLIENTS, tables.INTERACTIONS):
        if table.name not in row[0]:
            return None
        there = _first_version(ctx, table, row[0][table.name])
        written = [left[0][table.name] for left in tonight if left[0] and table.name in left[0]]
        if there is None or there >= min([ctx.lake.version(table), *written]):
            return None
        found[table.name] = there
    return found


def _first_version(ctx: StageContext, table: Table, version: int) -> int | None:
    """The oldest version, from ``version`` on, that the table's log still has."""
    from pyspark.sql import functions as F

    history = ctx.spark.sql(f"DESCRIBE HISTORY {ctx.lake.address(table)}").where(F.col("version") >= version)
    row = history.agg(F.min("version")).first()
    return int(row[0]) if row is not None and row[0] is not None else None


def _item_changes(before: DataFrame, now: DataFrame) -> dict[str, int]:
    from pyspark.sql import functions as F

    both = _beside_each_other(before, now, tables.ITEMS, "item_id", ("price", "available", "content_hash"))
    known = F.col("was").isNotNull() & F.col("is").isNotNull()
    return _counts(
        both,
        {
            "new_articles": F.col("was").isNull(),
            "articles_gone": F.col("is").isNull(),
            "articles_described_anew": known & (F.col("was.content_hash") != F.col("is.content_hash")),
            "prices_changed": known & ~F.col("was.price").eqNullSafe(F.col("is.price")),
            "articles_sold_out": known & F.col("was.available") & ~F.col("is.available"),
            "articles_back": known & ~F.col("was.available") & F.col("is.available"),
        },
    )


def _client_changes(before: DataFrame, now: DataFrame) -> dict[str, int]:
    from pyspark.sql import functions as F

    both = _beside_each_other(before, now, tables.CLIENTS, "user_id", ("consent",))
    known = F.col("was").isNotNull() & F.col("is").isNotNull()
    return _counts(
        both,
        {
            "new_clients": F.col("was").isNull(),
            "clients_gone": F.col("is").isNull(),
            "consents_withdrawn": known & F.col("was.consent") & ~F.col("is.consent"),
            "consents_given": known & ~F.col("was.consent") & F.col("is.consent"),
        },
    )


def _beside_each_other(
    before: DataFrame, now: DataFrame, table: Table, key: str, columns: tuple[str, ...]
) -> DataFrame:
    from pyspark.sql import functions as F

    assert {key, *columns} <= set(table.column_names())
    was, is_ = (
        rows.select(key, F.struct(*columns).alias(name)) for rows, name in ((before, "was"), (now, "is"))
    )
    return was.join(is_, key, "full")


def _counts(rows: DataFrame, conditions: dict[str, Column]) -> dict[str, int]:
    from pyspark.sql import functions as F

    row = rows.agg(*(F.count_if(condition).alias(name) for name, condition in conditions.items())).first()
    assert row is not None
    return row.asDict()
