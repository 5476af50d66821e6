"""Names and describes segments by what sets their clients apart from all others."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

#: Features that a segment keeps, strongest first.
_TOP_FEATURES = 8
#: A feature that fewer of the segment's clients share says nothing of the segment.
_MIN_SUPPORT = 0.1
_BETWEEN_WORDS = " · "


def describe_segments(
    members: DataFrame, events: DataFrame, features: DataFrame, before: DataFrame | None = None
) -> DataFrame:
    """Name and describe each segment.

    A feature is a brand, a category or a tag; a client has it who had an event with such an item. Its score in a
    segment is support times the logarithm of lift: support is the share of the segment's clients who have it, lift
    that share over the share among all members.

    A segment keeps the name that it had the night before as long as the feature that this name begins with is among its
    features.

    Parameters
    ----------
    members
        Columns user_id and segment_id.
    events
        Columns user_id and item_id; training events only.
    features
        See :func:`features_of_items`.
    before
        segment_id and name of the night before, if there is one.

    Returns
    -------
    DataFrame
        segment_id, name, description, size (int) and top_features (array<string>, strongest first), one row a segment.
    """
    from pyspark.sql import Window
    from pyspark.sql import functions as F

    sizes = members.groupBy("segment_id").agg(F.count("*").cast("int").alias("size"))
    ranked = _scored_features(members, events, features, sizes)
    strongest_first = [F.desc("score"), F.col("kind"), F.col("feature")]
    ranked = ranked.withColumn(
        "place", F.row_number().over(Window.partitionBy("segment_id").orderBy(*strongest_first))
    )
    entry = F.struct("place", "feature", "kind", "support", "lift")
    kept = (
        ranked.where(F.col("place") <= _TOP_FEATURES)
        .groupBy("segment_id")
        .agg(F.array_sort(F.collect_list(entry)).alias("features"))
    )
    named = sizes.join(kept, "segment_id", "left").withColumn("short", _name(F.col("features"), 2))
    # Where two segments would share a name, the third feature tells them apart.
    shared = F.count("*").over(Window.partitionBy("short")) > 1
    fresh = F.when(shared, _name(F.col("features"), 3)).otherwise(F.col("short"))
    if before is None:
        named = named.withColumn("name", fresh)
    else:
        named = named.join(before.select("segment_id", F.col("name").alias("known")), "segment_id", "left")
        leading = F.split("known", _BETWEEN_WORDS)[0]
        still_true = F.array_contains(F.col("features.feature"), leading)
        named = named.withColumn("name", F.when(still_true, F.col("known")).otherwise(fresh))
    return named.select(
        "segment_id",
        "name",
        _description(F.col("features"), F.col("size")).alias("description"),
        "size",
        F.coalesce(F.col("features.feature"), F.array().cast("array<string>")).alias("top_features"),
    )


def features_of_items(items: DataFrame, item_features: DataFrame) -> DataFrame:
    """Brand, categories and tags of every item, each word once, whatever its case.

    Parameters
    ----------
    items
        item_id, brand and categories (array<string>).
    item_features
        item_id and tags (array<string>).

    Returns
    -------
    DataFrame
        item_id, word (in lower case), kind (brand, category or tag) and feature (as it is written).
    """
    from pyspark.sql import functions as F

    brands = items.select("item_id", F.lit("brand").alias("kind"), F.col("brand").alias("feature"))
    categories = items.select(
        "item_id", F.lit("category").alias("kind"), F.explode("categories").alias("feature")
    )
    tags = item_features.select("item_id", F.lit("tag").alias("kind"), F.explode("tags").alias("feature"))
    trimmed = brands.unionByName(categories).unionByName(tags).withColumn("feature", F.trim("feature"))
    # A tag that only repeats a brand or a category must not appear beside it.
    return (
        trimmed.where(F.length("feature") > 0)
        .groupBy("item_id", F.lower("feature").alias("word"))
        .agg(F.min(F.struct("kind", "feature")).alias("first"))
        .select("item_id", "word", "first.kind", "first.feature")
    )


def _scored_features(
    members: DataFrame, events: DataFrame, features: DataFrame, sizes: DataFrame
) -> DataFrame:
    """segment_id, kind, feature, support, lift and score of what more clients of a segment share than elsewhere."""
    from pyspark.sql import functions as F

    having = (
        events.select("user_id", "item_id")
        .distinct()
        .join(features, "item_id")
        .join(members.select("user_id", "segment_id"), "user_id")
        .groupBy("segment_id", "word", "user_id")
        .agg(F.min(F.struct("kind", "feature")).alias("first"))
        .groupBy("segment_id", "word")
        .agg(F.count("*").alias("clients"), F.min("first").alias("first"))
    )
    everywhere = having.groupBy("word").agg(F.sum("clients").alias("all_clients"))
    total = sizes.agg(F.sum("size").alias("total"))
    support = F.col("clients") / F.col("size")
    lift = support / (F.col("all_clients") / F.col("total"))
    scored = (
        having.join(everywhere, "word").join(F.broadcast(sizes), "segment_id").crossJoin(F.broadcast(total))
    )
    return scored.select(
        "segment_id",
        F.col("first.kind").alias("kind"),
        F.col("first.feature").alias("feature"),
        support.alias("support"),
        lift.alias("lift"),
        # Rounded so that the order of equal features does not hang on the last bit.
        F.round(support * F.log(lift), 9).alias("score"),
    ).where((F.col("support") >= _MIN_SUPPORT) & (F.col("score") > 0))


def _name(features: Column, words: int) -> Column:
    from pyspark.sql import functions as F

    joined = F.concat_ws(_BETWEEN_WORDS, F.slice(features["feature"], 1, words))
    return F.when(features.isNull(), F.lit("Mixed tastes")).otherwise(joined)


def _description(features: Column, size: Column) -> Column:
    from pyspark.sql import functions as F

    first = features[0]
    clients = F.when(size == 1, F.lit("1 client")).otherwise(F.concat(size.cast("string"), F.lit(" clients")))
    liked = F.concat_ws(", ", F.slice(features["feature"], 1, 3))
    apart = F.concat(
        clients,
        F.lit(" drawn to "),
        liked,
        F.lit("; "),
        F.round(first["support"] * 100).cast("int").cast("string"),
        F.lit(" % of them chose "),
        first["feature"],
        F.lit(", "),
        F.format_number(first["lift"], 1),
        F.lit(" times the share among all clients."),
    )
    alike = F.concat(clients, F.lit(" whose choices do not differ from those of all clients."))
    return F.when(features.isNull(), alike).otherwise(apart)
