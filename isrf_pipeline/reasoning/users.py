"""Clients as subjects of reasoning: what they chose in training events, newest first."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from isrf_pipeline.reasoning.answers import INTEREST_WORDS
from isrf_pipeline.reasoning.items import (
    answer_field,
    attribute_text,
    shortened_line,
    without_identity,
    without_mail,
)

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

_FIELDS = "likes string, avoids string, interest string"
_DAY_SECONDS = 86_400
#: What a composed text names at most of each kind.
_NAMED = {"tag": 5, "category": 3, "brand": 2}
_LINE_CHARS = 160
_ATTRIBUTE_CHARS = 60


def item_lines(items: DataFrame, features: DataFrame) -> DataFrame:
    """What a client's prompt and composed text say of each item.

    Parameters
    ----------
    items
        silver.items.
    features
        reasoning.item_features.

    Returns
    -------
    DataFrame
        item_id, line (semantic feature, or attribute text where there is none), tags, category (the narrowest),
        brand.
    """
    from pyspark.sql import functions as F

    return items.join(features.select("item_id", "feature", "tags"), "item_id").select(
        "item_id",
        F.coalesce("feature", F.substring(without_identity(attribute_text()), 1, _LINE_CHARS)).alias("line"),
        "tags",
        F.try_element_at("categories", F.lit(-1)).alias("category"),
        "brand",
    )


def newest_choices(training: DataFrame, newest: int) -> DataFrame:
    """Each client's newest distinct items.

    Parameters
    ----------
    training
        Training events only.
    newest
        How many items of a client.

    Returns
    -------
    DataFrame
        user_id, item_id, event_type (of the weightiest event with the item: who bought what he had looked at has
        bought it), ts (of the newest), place (1 is the newest).
    """
    from pyspark.sql import Window
    from pyspark.sql import functions as F

    last = training.groupBy("user_id", "item_id").agg(
        F.max("ts").alias("ts"), F.max(F.struct("weight", "ts", "event_type")).alias("weightiest")
    )
    order = Window.partitionBy("user_id").orderBy(F.col("ts").desc(), F.xxhash64("user_id", "item_id"))
    return (
        last.withColumn("place", F.row_number().over(order))
        .where(F.col("place") <= newest)
        .select("user_id", "item_id", "weightiest.event_type", "ts", "place")
    )


def user_subjects(
    choices: DataFrame,
    lines: DataFrame,
    clients: DataFrame,
    attributes: Sequence[str] = (),
    value: DataFrame | None = None,
) -> DataFrame:
    """Subjects of the client base: what the model reads of each client, never an identifier.

    Parameters
    ----------
    choices
        See :func:`newest_choices`.
    lines
        See :func:`item_lines`.
    clients
        silver.clients.
    attributes
        Names of the clients' attributes that may be read.
    value
        user_id, value: what a client is worth, see :func:`client_value`; None orders by the newest event.

    Returns
    -------
    DataFrame
        subject (user_id), priority (the most valuable, or most recently active, first), input (JSON: attributes, and
        history, newest first, with when, event and text).
    """
    from pyspark.sql import functions as F

    entry = F.struct("place", "ts", "event_type", "line")
    collected = (
        choices.join(lines, "item_id")
        .groupBy("user_id")
        .agg(F.array_sort(F.collect_list(entry)).alias("entries"), F.max("ts").alias("newest"))
    )
    history = F.transform(
        "entries",
        lambda e: F.struct(
            _recency(F.col("newest"), e["ts"]).alias("when"),
            e["event_type"].alias("event"),
            e["line"].alias("text"),
        ),
    )
    told = F.map_filter(
        F.coalesce("attributes", F.map_from_arrays(F.array(), F.array()).cast("map<string,string>")),
        lambda name, text: name.isin(list(attributes)) & text.isNotNull(),
    )
    rows = collected.join(clients.select("user_id", "attributes"), "user_id", "left")
    if value is None:
        priority = -F.unix_micros("newest")
    else:
        rows = rows.join(value, "user_id", "left")
        priority = -F.round(F.coalesce("value", F.lit(0.0)) * 100).cast("bigint")
    return rows.select(
        F.col("user_id").alias("subject"),
        priority.alias("priority"),
        F.to_json(
            F.struct(
                F.transform_values(
                    told, lambda _, text: shortened_line(without_mail(text), _ATTRIBUTE_CHARS)
                ).alias("attributes"),
                history.alias("history"),
            )
        ).alias("input"),
    )


def client_value(training: DataFrame, items: DataFrame) -> DataFrame:
    """What each client's training events are worth: the sum of event weight times price (1 where it is unknown).

    Returns
    -------
    DataFrame
        user_id, value (double).
    """
    from pyspark.sql import functions as F

    worth = F.col("weight").cast("double") * F.coalesce(F.col("price").cast("double"), F.lit(1.0))
    priced = training.join(items.select("item_id", "price"), "item_id")
    return priced.groupBy("user_id").agg(F.sum(worth).alias("value"))


def interests(traced: DataFrame) -> DataFrame:
    """What the model answered of each client it was asked about.

    Returns
    -------
    DataFrame
        user_id, interest (null where there is no answer), reason (why not).
    """
    from pyspark.sql import functions as F

    complete = F.col("state") == "complete"
    return traced.select(
        F.col("subject").alias("user_id"),
        F.when(complete, answer_field("interest", _FIELDS)).alias("interest"),
        F.when(F.col("state") == "dead", F.col("reason"))
        .when(~complete, "not asked yet: beyond max_clients or the budget of the run")
        .alias("reason"),
    )


def composed_texts(choices: DataFrame, lines: DataFrame) -> DataFrame:
    """Text of at most 50 words from the tags, categories and brands most frequent among a client's newest items.

    Returns
    -------
    DataFrame
        user_id, text.
    """
    from pyspark.sql import Window
    from pyspark.sql import functions as F

    def named(kind: str, value: Column) -> Column:
        return F.struct(F.lit(kind).alias("kind"), value.alias("value"))

    mentions = F.concat(
        F.transform("tags", lambda tag: named("tag", tag)),
        F.array(named("category", F.col("category")), named("brand", F.col("brand"))),
    )
    counted = (
        choices.join(lines, "item_id")
        .select("user_id", F.explode(mentions).alias("mention"))
        .select("user_id", "mention.kind", "mention.value")
        .where(F.length(F.trim("value")) > 0)
        .groupBy("user_id", "kind", "value")
        .agg(F.count("*").alias("times"))
    )
    order = Window.partitionBy("user_id", "kind").orderBy(F.col("times").desc(), "value")
    ranked = counted.withColumn("place", F.row_number().over(order))

    def top(kind: str, count: int) -> Column:
        hit = (F.col("kind") == kind) & (F.col("place") <= count)
        listed = F.array_sort(F.collect_list(F.when(hit, F.struct("place", "value"))))
        return F.array_join(F.transform(listed, lambda entry: entry["value"]), ", ").alias(kind)

    parts = ranked.groupBy("user_id").agg(*[top(kind, count) for kind, count in _NAMED.items()])
    sentence = F.concat_ws(
        "; ",
        F.when(F.length("tag") > 0, F.concat(F.lit("Often chooses "), "tag")),
        F.when(F.length("category") > 0, F.concat(F.lit("looks at "), "category")),
        F.when(F.length("brand") > 0, F.concat(F.lit("favours "), "brand")),
    )
    words = F.slice(F.split(sentence, r"\s+"), 1, INTEREST_WORDS)
    return parts.select("user_id", F.array_join(words, " ").alias("text")).where(F.length("text") > 0)


def _recency(newest: Column, ts: Column) -> Column:
    """How long before the client's own newest event; never before today, or each night would ask anew."""
    from pyspark.sql import functions as F

    days = (F.unix_timestamp(newest) - F.unix_timestamp(ts)) / _DAY_SECONDS
    return (
        F.when(days < 1, "newest")
        .when(days < 7, "same week")
        .when(days < 31, "same month")
        .when(days < 183, "same half-year")
        .otherwise("earlier")
    )
