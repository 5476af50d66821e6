"""Items as subjects of reasoning, and their semantic features out of the answers."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

#: Longest texts of a prompt, in characters; the newest lines of a prompt matter most to a small model.
_TITLE_CHARS = 150
_DESCRIPTION_CHARS = 160
_ATTRIBUTE_CHARS = 60
#: A logarithm of 1000 may fall short of 3 by its last digit.
_ROUNDING = 1e-9
#: Prices above have no band; whole numbers end a little later.
_DEAREST = 1e15
#: A shorter identifier may as well be a size or a year.
_LEAST_IDENTIFIER = 6
#: More days than any two launches are apart: a group of items comes after the whole group before it.
_NEXT_GROUP = 10_000_000
#: Synthesis of all steps, in whichever answer of the chain a field stands.
_FIELDS = "who_for string, who_not_for string, feature string, tags array<string>"


def item_subjects(items: DataFrame, sold: DataFrame | None = None) -> DataFrame:
    """Subjects of the catalogue: what the model reads of each item, never its identifier.

    Parameters
    ----------
    items
        silver.items.
    sold
        item_id of the items that clients chose; None where that is not known.

    Returns
    -------
    DataFrame
        subject (item_id), priority (items on sale that clients chose, other items on sale, all others; the newest
        first within each), input (JSON: title, brand, categories, price, description, attributes).
    """
    from pyspark.sql import functions as F

    attributes = F.transform_values(
        F.map_from_entries(F.array_sort(F.map_entries("attributes"))),
        lambda _, value: shortened_line(without_identity(value), _ATTRIBUTE_CHARS),
    )
    fields = F.struct(
        shortened_line(without_identity(F.col("title")), _TITLE_CHARS).alias("title"),
        shortened_line(without_identity(F.col("brand")), _ATTRIBUTE_CHARS).alias("brand"),
        shortened_line(without_identity(F.array_join("categories", " > ")), _TITLE_CHARS).alias("categories"),
        price_band(F.col("price")).alias("price"),
        shortened_line(without_identity(F.col("description")), _DESCRIPTION_CHARS).alias("description"),
        attributes.alias("attributes"),
    )
    age = -F.coalesce(F.unix_date("launched_on"), F.lit(0)).cast("bigint")
    if sold is None:
        rows = items.withColumn("chosen", F.lit(False))
    else:
        rows = items.join(sold.select("item_id", F.lit(True).alias("chosen")).distinct(), "item_id", "left")
    group = F.when(F.col("available"), F.when(F.coalesce("chosen", F.lit(False)), 0).otherwise(1)).otherwise(
        2
    )
    return rows.select(
        F.col("item_id").alias("subject"),
        (age + group * _NEXT_GROUP).alias("priority"),
        F.to_json(fields, {"ignoreNullFields": "false"}).alias("input"),
    )


def price_band(price: Column) -> Column:
    """Band of a price in steps of 1, 2, 5, 10 and so on, such as "200 to 500"; null below 1 and above 10^15.

    A band says what a price means, and survives a change of price that the fingerprint would not.
    """
    from pyspark.sql import functions as F

    decade = F.pow(F.lit(10.0), F.floor(F.log10(price) + _ROUNDING))
    step = price / decade + _ROUNDING
    low = F.when(step >= 5, 5).when(step >= 2, 2).otherwise(1) * decade
    high = low * F.when((step >= 2) & (step < 5), 2.5).otherwise(2)

    def whole(value: Column) -> Column:
        return F.round(value).cast("bigint").cast("string")

    return F.when((price >= 1) & (price < _DEAREST), F.concat(whole(low), F.lit(" to "), whole(high)))


def attribute_text() -> Column:
    """The catalogue's own words in one text: "title | brand | categories[ | attributes][ | description]"."""
    from pyspark.sql import functions as F

    entries = F.array_sort(F.map_entries("attributes"))
    values = F.array_join(F.transform(entries, lambda entry: entry["value"]), ", ")
    text = F.concat_ws(
        " | ",
        _present(F.trim("title")),
        _present(F.trim("brand")),
        _present(F.array_join(F.array_distinct("categories"), " ")),
        _present(values),
        description_text(),
    )
    return F.coalesce(_present(text), F.lit("article"))


def description_text() -> Column:
    """Beginning of the description, null where there is none."""
    from pyspark.sql import functions as F

    return _present(shortened_line(F.col("description"), _DESCRIPTION_CHARS))


def feature_text() -> Column:
    """Text of the model's own words on an item, null where there are none: feature and who it is for.

    Tags are no part of it: they are edges of the graph.
    """
    from pyspark.sql import functions as F

    words = F.concat_ws(". ", "feature", "who_for")
    return F.when(F.col("feature").isNotNull(), words)


def semantic_features(items: DataFrame, traced: DataFrame) -> DataFrame:
    """One row for every item: what the model answered, or why it did not.

    Parameters
    ----------
    items
        silver.items.
    traced
        Columns subject, answers, state, reason; see :func:`isrf_pipeline.reasoning.waves.reason_over`.

    Returns
    -------
    DataFrame
        item_id, feature, who_for, who_not_for, tags, origin, reason.
    """
    from pyspark.sql import functions as F

    joined = items.select("item_id").join(traced.withColumnRenamed("subject", "item_id"), "item_id", "left")
    complete = F.col("state") == "complete"
    found = {
        name: F.when(complete, answer_field(name, _FIELDS)) for name in ("feature", "who_for", "who_not_for")
    }
    tags = F.when(complete, answer_field("tags", _FIELDS))
    return joined.select(
        "item_id",
        *[column.alias(name) for name, column in found.items()],
        F.coalesce(F.array_distinct(tags), F.array().cast("array<string>")).alias("tags"),
        F.when(complete, "llm").otherwise("attributes").alias("origin"),
        F.when(F.col("state") == "dead", F.col("reason"))
        .when(~complete, "not asked yet: beyond max_items or the budget of the run")
        .alias("reason"),
    )


def features_without_model(items: DataFrame, reason: str) -> DataFrame:
    """Rows as of :func:`semantic_features` where no model is asked at all."""
    from pyspark.sql import functions as F

    nothing = F.lit(None).cast("string")
    return items.select(
        "item_id",
        *[nothing.alias(name) for name in ("feature", "who_for", "who_not_for")],
        F.array().cast("array<string>").alias("tags"),
        F.lit("attributes").alias("origin"),
        F.lit(reason).alias("reason"),
    )


def answer_field(name: str, schema: str) -> Column:
    """Field ``name`` of whichever step's answer holds it; ``schema`` is the DDL of all fields."""
    from pyspark.sql import functions as F

    # No chain has more than three steps.
    parsed = [F.from_json(F.get("answers", F.lit(place)), schema)[name] for place in range(3)]
    return F.coalesce(*parsed)


def without_mail(text: Column) -> Column:
    """The text with e-mail addresses taken out: no prompt names anybody."""
    from pyspark.sql import functions as F

    return F.regexp_replace(text, r"(?U)[\w.'’+-]+[@＠][\w-]+(\.[\w-]+)+", "…")


def without_identity(text: Column) -> Column:
    """The text without e-mail addresses and without the item's own identifier, where that is long enough to be one."""
    from pyspark.sql import functions as F

    is_identifier = F.length("item_id") >= _LEAST_IDENTIFIER
    own = F.concat(F.lit(r"(?i)\Q"), F.col("item_id"), F.lit(r"\E"))
    return F.when(is_identifier, F.regexp_replace(without_mail(text), own, F.lit("…"))).otherwise(
        without_mail(text)
    )


def shortened_line(text: Column, characters: int) -> Column:
    """One line of at most ``characters``, ended after a whole word."""
    from pyspark.sql import functions as F

    line = F.trim(F.regexp_replace(text, r"\s+", " "))
    cut = F.regexp_replace(F.substring(line, 1, characters), r"\s+\S*$", "")
    return F.when(F.length(line) > characters, cut).otherwise(line)


def _present(text: Column) -> Column:
    from pyspark.sql import functions as F

    return F.when(F.length(text) > 0, text)
