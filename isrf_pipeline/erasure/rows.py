"""Rows of the lake's tables that name a client: counted and removed, whatever signs an identifier holds."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from isrf_pipeline.lake import Lake, Table, tables
from isrf_pipeline.lake.existing import delta_table
from isrf_pipeline.lake.schema import ClientReference

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

#: Name of the identifiers' column, which no table has.
WANTED = "isrf_wanted_client"


def holds_clients(table: Table) -> bool:
    """Whether the rows of a table name clients, were learned from them, or may mention them."""
    mentions = any(column.may_mention_clients for column in table.columns)
    return bool(table.client_columns()) or table.learned or mentions or table is tables.EMBEDDINGS


def wanted_frame(lake: Lake, identifiers: tuple[str, ...]) -> DataFrame:
    """Identifiers as a frame of one column: compared as values, and never part of a statement's text."""
    return lake.spark.createDataFrame([(identifier,) for identifier in identifiers], f"{WANTED} string")


@dataclass(frozen=True)
class Named:
    """Rows of one table that name clients.

    Attributes
    ----------
    rows
        How many; each counted once, whoever it names.
    columns
        Columns in which somebody is named.
    identifiers
        Who is named.
    """

    rows: int
    columns: frozenset[str]
    identifiers: frozenset[str]


def named_in(lake: Lake, tables_to_look_at: Sequence[Table], wanted: DataFrame) -> dict[str, Named]:
    """What each table's rows say of ``wanted``, by one query; tables that name none of them are left out."""
    from pyspark.sql import DataFrame
    from pyspark.sql import functions as F

    frames = []
    forms: set[ClientReference] = set()
    for table in tables_to_look_at:
        names = [
            F.when(
                _condition(reference),
                F.struct(
                    F.lit(name).alias("column"), *_form(reference), F.col(name).cast("string").alias("value")
                ),
            )
            for name, reference in table.client_columns()
        ]
        forms |= {dataclasses.replace(reference, when=None) for _, reference in table.client_columns()}
        if names:
            frames.append(
                lake.read(table).select(F.lit(table.name).alias("table"), F.array(*names).alias("names"))
            )
    if not frames:
        return {}
    sought = functools.reduce(
        DataFrame.unionByName,
        [
            wanted.select(
                *_form(form), _value(form).cast("string").alias("value"), F.col(WANTED).alias("client")
            )
            for form in sorted(forms, key=repr)
        ],
    )
    named = (
        functools.reduce(DataFrame.unionByName, frames)
        .withColumn("row", F.monotonically_increasing_id())
        .select("table", "row", F.explode(F.array_compact("names")).alias("name"))
        .select("table", "row", "name.*")
        .join(F.broadcast(sought), ["prefix", "hashed", "value"])
    )
    # As many names as were asked for, at the most.
    found = named.groupBy("table").agg(
        F.count_distinct("row").alias("rows"),
        F.collect_set("column").alias("columns"),
        F.collect_set("client").alias("clients"),
    )
    return {
        row["table"]: Named(row["rows"], frozenset(row["columns"]), frozenset(row["clients"]))
        for row in found.collect()
    }


def delete_rows(lake: Lake, table: Table, wanted: DataFrame, columns: Collection[str]) -> None:
    """Delete the rows of ``table`` that name any of ``wanted`` in ``columns``: one commit for each of these."""
    from pyspark.sql import functions as F

    for name, reference in table.client_columns():
        if name in columns:
            same = F.col(name) == _value(reference)
            merge = delta_table(lake, table).merge(F.broadcast(wanted), same & _condition(reference))
            merge.whenMatchedDelete().execute()


def delete_all(lake: Lake, table: Table) -> int:
    """Delete all rows of ``table`` and return how many there were."""
    rows = lake.read(table).count()
    if rows:
        delta_table(lake, table).delete()
    return rows


def client_texts(lake: Lake, wanted: DataFrame) -> DataFrame:
    """Hashes of the interest texts of ``wanted``, of earlier nights too: text_hash.

    They are looked for in reasoning.user_features and in the answers about the clients. What is another client's text
    as well is left out.
    """
    from pyspark.sql import functions as F

    hashed = F.sha2("text", 256).alias("text_hash")
    own = F.col("user_id") == F.col(WANTED)
    features = _texts(lake, tables.USER_FEATURES, "user_id", F.col("interest"))
    answers = _texts(lake, tables.ANSWERS, "subject", F.get_json_object("answer", "$.interest")).where(
        "of_client"
    )
    theirs = features.select("user_id", "text").unionByName(answers.select("user_id", "text"))
    others = features.join(F.broadcast(wanted), own, "left_anti").select(hashed)
    return (
        theirs.join(F.broadcast(wanted), own, "left_semi")
        .select(hashed)
        .distinct()
        .join(others, "text_hash", "left_anti")
    )


def _texts(lake: Lake, table: Table, client: str, text: Column) -> DataFrame:
    """user_id, text and of_client (whether the row is about a client) of a table that may not exist yet."""
    from pyspark.sql import functions as F

    rows = lake.read(table) if lake.exists(table) else lake.spark.createDataFrame([], table.ddl())
    of_client = F.startswith("kind", F.lit("user.")) if "kind" in table.column_names() else F.lit(True)
    named = rows.select(F.col(client).alias("user_id"), text.alias("text"), of_client.alias("of_client"))
    return named.where(F.col("text").isNotNull())


def delete_keys(lake: Lake, table: Table, keys: DataFrame) -> int:
    """Delete the rows of ``table`` that have one of ``keys``, and return how many keys there are."""
    from pyspark.sql import functions as F

    found = keys.localCheckpoint()
    count = found.count()
    if count:
        erased = found.select(*[F.col(name).alias(f"erased_{name}") for name in found.columns])
        same = F.lit(True)
        for name in found.columns:
            same = same & (F.col(name) == F.col(f"erased_{name}"))
        delta_table(lake, table).merge(erased, same).whenMatchedDelete().execute()
    return count


def _form(reference: ClientReference) -> tuple[Column, Column]:
    """Columns prefix and hashed: two references with the same ones give the same value for the same client."""
    from pyspark.sql import functions as F

    return F.lit(reference.prefix).alias("prefix"), F.lit(reference.hashed).alias("hashed")


def _value(reference: ClientReference) -> Column:
    """What stands for a wanted client in a column."""
    from pyspark.sql import functions as F

    if reference.hashed:
        return F.xxhash64(WANTED)
    return F.concat(F.lit(reference.prefix), F.col(WANTED))


def _condition(reference: ClientReference) -> Column:
    from pyspark.sql import functions as F

    if reference.when is None:
        return F.lit(True)
    column, beginning = reference.when
    return F.startswith(column, F.lit(beginning))
