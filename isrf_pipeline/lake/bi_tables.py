"""The star schema for BI, schema ``bi``: facts of each night, and the dimensions they are grouped by.

Keys are hashes of the natural identifiers: the same on every night and in every lake, whole numbers (tools that compare
texts without regard to case would merge identifiers that differ in nothing else), and without a table that hands them
out. Of ten million clients, the chance that any two share a key is one in 370,000.
"""

from __future__ import annotations

from isrf_pipeline.lake.schema import ClientReference, Column, Retention, Table


def _required(name: str, type_: str, comment: str) -> Column:
    return Column(name, type_, comment, nullable=False)


_NIGHT = _required("run_date", "date", "Night that the row belongs to; joins dim_night")
_HASHED = ClientReference(hashed=True)
_CLIENT = Column("client_key", "bigint", "Client; joins dim_client", nullable=False, client=_HASHED)
_ITEM = _required("item_key", "bigint", "Article; joins dim_item")
# Never null, as no key is: pandas reads whole numbers among which one is null as floating point and loses digits.
_SEGMENT = _required(
    "segment_key", "bigint", "Segment of that night, or the row of those in none; joins dim_segment"
)

DIM_NIGHT = Table(
    "bi.dim_night",
    "One night whose facts are complete",
    ("run_date",),
    (
        _required("run_date", "date", "The night"),
        _required("year", "int", "Calendar year"),
        _required("quarter", "int", "Quarter of the year, 1 to 4"),
        _required("month", "int", "Month of the year, 1 to 12"),
        _required("month_name", "string", "English name of the month"),
        _required("iso_year", "int", "Year that the ISO week belongs to"),
        _required("iso_week", "int", "ISO week of that year"),
        _required("day_of_month", "int", "Day of the month"),
        _required("day_of_week", "int", "Day of the week, 1 is Monday"),
        _required("day_name", "string", "English name of the day"),
        _required("is_weekend", "boolean", "Whether it is a Saturday or a Sunday"),
        Column(
            "is_current",
            "boolean",
            "Whether consumers are to see this night: the newest that passed its gates, or the one rolled back to",
        ),
    ),
    retention=Retention("gold_nights"),
)

DIM_CLIENT = Table(
    "bi.dim_client",
    "One client as of the newest exported night",
    ("client_key",),
    (
        Column("client_key", "bigint", "Hash of the client's identifier", nullable=False, client=_HASHED),
        Column(
            "user_id", "string", "Client, as named by the source", nullable=False, client=ClientReference()
        ),
        Column("consent", "boolean", "Marketing consent; null where the client is in no list of clients"),
        _SEGMENT,
        Column("segment_id", "string", "Identifier of this segment; null where the client is in none"),
        Column("segment_name", "string", "Name of this segment"),
        Column(
            "attributes", "string", "Allow-listed attributes as a JSON object, names in alphabetical order"
        ),
        _required("as_of", "date", "Night that the row describes"),
    ),
)

DIM_ITEM = Table(
    "bi.dim_item",
    "One article as of the newest exported night",
    ("item_key",),
    (
        _required("item_key", "bigint", "Hash of the article's identifier"),
        _required("item_id", "string", "Article, as named by the source"),
        Column("title", "string", "Title; null where the article is in no catalogue"),
        Column("brand", "string", "Brand or house"),
        Column("category", "string", "Broadest category"),
        Column("category_path", "string", "All categories, broadest first, divided by ' > '"),
        Column("price", "double", "Price in the currency of the source"),
        Column("available", "boolean", "Whether it may be recommended"),
        Column("launched_on", "date", "First day on sale"),
        Column("attributes", "string", "Further attributes as a JSON object, names in alphabetical order"),
        _required("as_of", "date", "Night that the row describes"),
    ),
)

DIM_SEGMENT = Table(
    "bi.dim_segment",
    "One micro-segment as it was on one night, and one row for the clients in none",
    ("segment_key",),
    (
        _required("segment_key", "bigint", "Hash of night and segment identifier"),
        _NIGHT,
        _required("segment_id", "string", "Segment, as named by the pipeline; empty for those in none"),
        Column("name", "string", "Short name made of what distinguishes it"),
        Column("description", "string", "One sentence"),
        Column("size", "int", "Number of clients"),
        Column("top_features", "string", "Distinguishing features, strongest first, divided by ', '"),
    ),
    retention=Retention("gold_nights"),
)

FACT_RECOMMENDATION = Table(
    "bi.fact_recommendation",
    "One recommended item of one client",
    ("run_date", "client_key", "rank"),
    (
        _NIGHT,
        _CLIENT,
        _required("rank", "int", "1 is the best"),
        _ITEM,
        _SEGMENT,
        _required("score", "double", "Fused score; comparable within one client only"),
        _required("explicit_share", "double", "Share of the score from the client's own history"),
        _required("implicit_share", "double", "Share of the score from similar clients"),
        _required("reason", "string", "Sentence for a sales associate"),
        _required(
            "because_items", "string", "Item identifiers that the explicit share rests on, as a JSON list"
        ),
    ),
    retention=Retention("gold_nights"),
)

FACT_SEGMENT_MEMBERSHIP = Table(
    "bi.fact_segment_membership",
    "Membership of one client in one segment",
    ("run_date", "client_key"),
    (
        _NIGHT,
        _CLIENT,
        _SEGMENT,
        _required("affinity", "double", "Share of the client's strongest neighbours that are in the segment"),
    ),
    retention=Retention("gold_nights"),
)

FACT_HERO_ITEM = Table(
    "bi.fact_hero_item",
    "One item that resonates across segments",
    ("run_date", "item_key"),
    (
        _NIGHT,
        _ITEM,
        _required("rank", "int", "1 is the strongest"),
        _required("segments_reached", "int", "Segments whose clients get it more than by chance"),
        _required("reach", "int", "Clients it is recommended to"),
        _required(
            "lift", "double", "Recommended share of clients over the share of clients who already have it"
        ),
    ),
    retention=Retention("gold_nights"),
)

FACT_RELATED_ITEM = Table(
    "bi.fact_related_item",
    "One item related to another",
    ("run_date", "item_key", "rank"),
    (
        _NIGHT,
        _ITEM,
        _required("rank", "int", "1 is the closest"),
        _required("related_item_key", "bigint", "Related article; joins dim_item"),
        _required("score", "double", "Strength"),
        _required("relation", "string", "Kind of relation, for example followed_by or similar_meaning"),
    ),
    retention=Retention("gold_nights"),
)

FACT_AUDIENCE = Table(
    "bi.fact_audience",
    "One client of one campaign audience, also those who are not written to",
    ("run_date", "campaign_id", "client_key"),
    (
        _NIGHT,
        _required("campaign_id", "string", "Campaign; hero:<item_id> for the audience of a hero item"),
        _CLIENT,
        _required("rank", "int", "1 is the best fit"),
        _required("score", "double", "Fit"),
        Column("reason", "string", "Why the client fits; null where the campaign gives none"),
        Column("holdout", "boolean", "Whether the client is held out for measuring; null where nobody is"),
    ),
    retention=Retention("gold_nights"),
)

DIMENSIONS = (DIM_CLIENT, DIM_ITEM, DIM_SEGMENT)
FACTS = (
    FACT_RECOMMENDATION,
    FACT_SEGMENT_MEMBERSHIP,
    FACT_HERO_ITEM,
    FACT_RELATED_ITEM,
    FACT_AUDIENCE,
)
#: In the order in which they are written: who reads nights from dim_night finds all their facts.
STAR_TABLES = (*DIMENSIONS, *FACTS, DIM_NIGHT)
