"""The rows of the CRM file: one client a row, a few recommendations side by side."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

#: Line ends and other control characters: one record must stay one line in whatever reads the file.
_CONTROL_CHARACTERS = r"[\x00-\x1f\x7f\u0085\u2028\u2029]+"
#: What a spreadsheet takes for a formula, the full-width forms of some Asian locales included. Apostrophes before it
#: count: else "=1" with one in front would be the same cell as "'=1", and two identifiers would become one.
_FORMULA_START = r"^'*[\s\u00a0\u3000\ufeff]*[=+\-@\uff1d\uff0b\uff0d\uff20]"


def crm_rows(
    recommendations: DataFrame,
    items: DataFrame,
    segments: DataFrame,
    clients: DataFrame,
    count: int,
    require_consent: bool,
) -> DataFrame:
    """One row a client with its best recommendations.

    Parameters
    ----------
    recommendations
        One night's gold.recommendations.
    items
        silver.items, for titles.
    segments
        The same night's gold.segments, for names.
    clients
        silver.clients, for marketing consent.
    count
        Recommendations in a row.
    require_consent
        Whether clients without marketing consent are left out.

    Returns
    -------
    DataFrame
        user_id, segment_id, segment_name, rec_1_item_id, rec_1_title, rec_1_reason, ... up to ``count``. All are
        text, never null, on one line and safe to open in a spreadsheet.
    """
    from pyspark.sql import functions as F

    listed = recommendations.where(F.col("rank") <= count)
    if require_consent:
        listed = listed.join(clients.where("consent").select("user_id"), "user_id", "left_semi")
    titles = items.select("item_id", F.coalesce("title", "item_id").alias("title"))
    one_client = (
        listed.join(titles, "item_id", "left")
        .groupBy("user_id")
        .agg(
            F.max("segment_id").alias("segment_id"),
            F.sort_array(F.collect_list(F.struct("rank", "item_id", "title", "reason"))).alias("listed"),
        )
        .join(segments.select("segment_id", F.col("name").alias("segment_name")), "segment_id", "left")
    )
    columns = [safe_cell(F.col(name)).alias(name) for name in ("user_id", "segment_id", "segment_name")]
    for place in range(count):
        for field in ("item_id", "title", "reason"):
            value = F.get("listed", F.lit(place)).getField(field)
            columns.append(safe_cell(value).alias(f"rec_{place + 1}_{field}"))
    return one_client.select(*columns)


def safe_cell(value: Column) -> Column:
    """Text of ``value`` that stays on one line and that no spreadsheet executes.

    Titles come from whoever keeps the catalogue. A cell that begins with ``=``, ``+``, ``-`` or ``@``, whatever
    white space stands before it, gets an apostrophe in front, which spreadsheets read as "this is text". Null
    becomes an empty cell.
    """
    from pyspark.sql import functions as F

    flat = F.regexp_replace(F.coalesce(value.cast("string"), F.lit("")), _CONTROL_CHARACTERS, " ")
    return F.when(flat.rlike(_FORMULA_START), F.concat(F.lit("'"), flat)).otherwise(flat)
