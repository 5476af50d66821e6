"""Every table of the lake, declared once: the shape that stages, BI and CRM rely on."""

from __future__ import annotations

from isrf_pipeline.lake.bi_tables import STAR_TABLES
from isrf_pipeline.lake.schema import ClientReference, Column, Retention, Table


def _required(name: str, type_: str, comment: str, client: ClientReference | None = None) -> Column:
    return Column(name, type_, comment, nullable=False, client=client)


#: Columns of which each value is a client's identifier as the source gives it.
_CLIENT = ClientReference()
_RUN_DATE = _required("run_date", "date", "Night that the row belongs to")
_USER = _required("user_id", "string", "Client, as named by the source", _CLIENT)
_ITEM = _required("item_id", "string", "Article, as named by the source")

INTERACTIONS = Table(
    "silver.interactions",
    "One event of one client with one item",
    ("user_id", "item_id", "event_type", "ts"),
    (
        _USER,
        _ITEM,
        _required("event_type", "string", "purchase, wishlist, view or another configured type"),
        _required("ts", "timestamp", "When it happened (UTC)"),
        _required("weight", "float", "Weight of the event type"),
        _required("run_id", "string", "Ingest run that wrote the row"),
    ),
    {"weight_positive": "weight > 0"},
)

ITEMS = Table(
    "silver.items",
    "One article of the catalogue",
    ("item_id",),
    (
        _ITEM,
        Column("title", "string", "Title"),
        Column("brand", "string", "Brand or house"),
        Column("categories", "array<string>", "Category path, broadest first"),
        Column("description", "string", "Description"),
        Column("price", "double", "Price in the currency of the source"),
        _required(
            "attributes", "map<string,string>", "Further attributes by name (material, colour, season, ...)"
        ),
        _required("available", "boolean", "Whether it may be recommended"),
        Column("launched_on", "date", "First day on sale"),
        _required("content_hash", "string", "SHA-256 of everything that is reasoned over"),
    ),
    {"price_not_negative": "price IS NULL OR price >= 0"},
)

CLIENTS = Table(
    "silver.clients",
    "One client",
    ("user_id",),
    (
        _USER,
        _required("attributes", "map<string,string>", "Allow-listed attributes by name"),
        _required("consent", "boolean", "Marketing consent; absent in the source means no consent"),
    ),
)

QUARANTINE = Table(
    "silver.quarantine",
    "One source row that broke a rule",
    ("source", "row_hash"),
    (
        _required("source", "string", "Name of the source"),
        _required("row_hash", "string", "SHA-256 of the raw row and its rule"),
        Column(
            "raw",
            "string",
            "The row as JSON, or the line as it stood",
            nullable=False,
            may_mention_clients=True,
        ),
        _required("rule", "string", "Rule that it broke"),
        _required("run_date", "date", "Night of the ingest run"),
        _required("run_id", "string", "Ingest run"),
    ),
    retention=Retention("quarantine_nights"),
)

ANSWERS = Table(
    "reasoning.answers",
    "One answer of the language model: the cache",
    ("fingerprint",),
    (
        _required(
            "fingerprint", "string", "SHA-256 of model, revision, prompt, schema, sampling and rendered input"
        ),
        _required("kind", "string", "Subject and step, for example item.forward"),
        _required(
            "subject",
            "string",
            "item_id, user_id or segment_id",
            ClientReference(when=("kind", "user.")),
        ),
        Column(
            "input_hash", "string", "SHA-256 of the subject's own data, whatever the prompts say beside it"
        ),
        _required("model", "string", "Model name"),
        _required("prompt_version", "string", "Version of the prompt files"),
        Column("answer", "string", "Answer as JSON; null for a dead letter"),
        _required("status", "string", "ok or dead"),
        Column("reason", "string", "Why it is a dead letter"),
        Column("raw", "string", "Raw text of a dead letter"),
        Column("note", "string", "What was done to get it: an input shortened, a second attempt"),
        Column("calls", "int", "Calls of the model, 2 where it was asked for a second attempt"),
        _required("tokens_in", "int", "Prompt tokens of all its calls"),
        _required("tokens_out", "int", "Output tokens of all its calls"),
        Column("tokens_cached", "int", "Prompt tokens that the engine found in its prefix cache"),
        _required("finished_at", "timestamp", "When the answer came"),
        _required("run_id", "string", "Run that asked"),
    ),
    {"status_known": "status IN ('ok', 'dead')"},
)

ITEM_FEATURES = Table(
    "reasoning.item_features",
    "What is known of the meaning of one item",
    ("item_id",),
    (
        _ITEM,
        Column("feature", "string", "Semantic feature written by the model, at most 25 words"),
        Column("who_for", "string", "Who would enjoy it, and why"),
        Column("who_not_for", "string", "Who would not, and why"),
        _required("tags", "array<string>", "Short recurring tags"),
        _required("origin", "string", "llm, or attributes where no model answered"),
        Column("reason", "string", "Why no model answered"),
        _required("title_embedding", "array<float>", "Unit embedding of title and description"),
        Column("attribute_embedding", "array<float>", "Unit sum of the embeddings of the attributes' values"),
        Column("feature_embedding", "array<float>", "Unit embedding of what the model wrote"),
        Column("whole_embedding", "array<float>", "Unit embedding of title and attributes as one text"),
        _required("embedding", "array<float>", "Unit embedding of all fields together"),
    ),
    {"origin_known": "origin IN ('llm', 'attributes')"},
)

USER_FEATURES = Table(
    "reasoning.user_features",
    "What is known of the interests of one client, from training events only",
    ("user_id",),
    (
        _USER,
        Column("interest", "string", "Interest text, at most 50 words"),
        _required(
            "origin", "string", "llm, prototype (of the segment), composed (from item features) or history"
        ),
        Column("reason", "string", "Why no model answered"),
        Column(
            "embedding", "array<float>", "Unit embedding of the interest text; null where there is no text"
        ),
    ),
    {"origin_known": "origin IN ('llm', 'prototype', 'composed', 'history')"},
)

EMBEDDINGS = Table(
    "reasoning.embeddings",
    "Vector of one text by one encoder: the cache",
    ("text_hash", "encoder"),
    (
        _required("text_hash", "string", "SHA-256 of the text"),
        _required("encoder", "string", "Encoder and the number of tokens at which it cuts texts"),
        _required("embedding", "array<float>", "Unit embedding"),
        _required("run_id", "string", "Run that encoded it"),
    ),
)

VERTICES = Table(
    "graph.vertices",
    "One vertex of the semantic interaction graph",
    ("id",),
    (
        _required(
            "id",
            "string",
            "'u:' or 'i:' and the source's identifier; 't:', 'h:' or 'c:' and the name of a tag, house or category",
            ClientReference(prefix="u:"),
        ),
        _required("kind", "string", "user, item, tag, house or category"),
        Column("label", "string", "Title or name for people"),
    ),
)

EDGES = Table(
    "graph.edges",
    "One edge of the semantic interaction graph",
    ("src", "dst", "relation"),
    (
        _required("src", "string", "Source vertex", ClientReference(prefix="u:")),
        _required("dst", "string", "Target vertex", ClientReference(prefix="u:")),
        _required(
            "relation",
            "string",
            "interacted (user-item), followed_by or similar_meaning (item-item), has_tag, of_house or in_category "
            "(item-attribute), part_of (category-category)",
        ),
        _required("weight", "float", "Strength"),
    ),
)

FIELD_WEIGHTS = Table(
    "graph.field_weights",
    "What validation made of one part of the language model's words in the item-item model",
    ("field",),
    (
        _required("field", "string", "feature or tags"),
        _required("weight", "double", "Weight in the kernel; 0 where validation is no better with it"),
        Column(
            "gain", "double", "Gain of validation NDCG@10 at the best weight tried; null where not measured"
        ),
        Column("error", "double", "Standard error of the gain, paired over clients"),
    ),
)

PROFILE_WEIGHTS = Table(
    "graph.profile_weights",
    "What validation made of one part of the profiles by which clients are compared",
    ("field",),
    (
        _required("field", "string", "interest (the client's interest text)"),
        _required(
            "weight", "double", "Weight beside the history's items; 0 where validation is no better with it"
        ),
        Column(
            "gain", "double", "Gain of validation NDCG@10 at the best weight tried; null where not measured"
        ),
        Column("error", "double", "Standard error of the gain, paired over clients"),
    ),
)

SIMILARITY = Table(
    "graph.similarity",
    "One edge of the user-similarity graph of one round (round 0: before optimization)",
    ("src", "dst", "round"),
    (
        _required("src", "string", "Client", _CLIENT),
        _required("dst", "string", "Similar client", _CLIENT),
        _required("round", "int", "Optimization round that built the edge"),
        _required("similarity", "float", "Cosine of the two profiles"),
        _required("rank", "int", "1 is the most similar"),
    ),
)

PROFILES = Table(
    "graph.profiles",
    "One client's profile of one round, from training events only: what others are compared with",
    ("user_id", "round"),
    (
        _USER,
        _required("round", "int", "Optimization round"),
        _required("embedding", "array<float>", "Unit profile"),
    ),
)

INTEREST_MODEL = Table(
    "interests.model",
    "Settings that validation chose for the fusion of explicit and implicit interest",
    ("run_date",),
    (
        _RUN_DATE,
        _required("round", "int", "Chosen round"),
        _required("implicit_weight", "double", "Weight of implicit interest"),
        _required("semantic_weight", "double", "Weight of edges of meaning within explicit interest"),
        _required("feedback_weight", "double", "Weight of group interest as input of explicit propagation"),
        _required("sequence_weight", "double", "Weight of the sequence model within explicit interest"),
        _required(
            "followed_weight", "double", "Weight of edges of what follows what within explicit interest"
        ),
        _required("generator_weight", "double", "Weight of the generator within explicit interest"),
        _required("history_decay", "double", "Weight of one more step back in a history"),
        _required(
            "ranked_by",
            "string",
            "fusion (fixed weights) or ranker (learned), whichever validation preferred",
        ),
        _required("validation_ndcg", "double", "NDCG@10 on validation events with these settings"),
    ),
    learned=True,
    retention=Retention("model_nights"),
)

INTEREST_PARAMETERS = Table(
    "interests.parameters",
    "One trained part of the model",
    ("run_date", "part"),
    (
        _RUN_DATE,
        _required(
            "part",
            "string",
            "sequence and alignment of a round (arrays as npz), ranker (trees in LightGBM's text format)",
        ),
        _required("content", "binary", "The part itself"),
    ),
    learned=True,
    retention=Retention("model_nights"),
)

PROGRESS = Table(
    "interests.progress",
    "One finished part of an optimization that has not come to its end; empty between runs",
    ("fingerprint", "part"),
    (
        _required("fingerprint", "string", "Hash of all that the part was computed from"),
        _required("part", "string", "Round, its map of profiles, or a model"),
        _required("content", "binary", "The part itself"),
    ),
    learned=True,
)

RECOMMENDATIONS = Table(
    "gold.recommendations",
    "One recommended item of one client",
    ("run_date", "user_id", "rank"),
    (
        _RUN_DATE,
        _USER,
        _required("rank", "int", "1 is the best; where rules gave places, ranks do not follow scores"),
        _ITEM,
        _required("score", "double", "The model's score; comparable within one client only"),
        _required("explicit_share", "double", "Share of the score from the client's own history"),
        _required("implicit_share", "double", "Share of the score from similar clients"),
        _required("reason", "string", "Sentence for a sales associate"),
        _required("because_items", "array<string>", "Items of the history that the explicit share rests on"),
        Column("segment_id", "string", "Segment of the client"),
        Column(
            "rules",
            "array<string>",
            "Business rules that gave the item its place: new_arrivals, diversity, price_band, replenishable; null "
            "where the model's order did",
        ),
    ),
    {
        "shares_in_range": "explicit_share >= 0 AND implicit_share >= 0 AND explicit_share + implicit_share <= 1.000001"
    },
    retention=Retention("gold_nights"),
)

RELATED_ITEMS = Table(
    "gold.related_items",
    "One item related to another",
    ("run_date", "item_id", "rank"),
    (
        _RUN_DATE,
        _ITEM,
        _required("rank", "int", "1 is the closest"),
        _required("related_item_id", "string", "Related article"),
        _required("score", "double", "Strength"),
        _required(
            "relation",
            "string",
            "bought_after (clients go on to it), same_need (alike in what it is) or same_taste (the same clients have "
            "it)",
        ),
    ),
    retention=Retention("gold_nights"),
)

SEGMENTS = Table(
    "gold.segments",
    "One micro-segment: clients with a shared implicit interest",
    ("run_date", "segment_id"),
    (
        _RUN_DATE,
        _required("segment_id", "string", "Segment"),
        _required("name", "string", "Short name made of what distinguishes it"),
        _required("description", "string", "One sentence"),
        _required("size", "int", "Number of clients"),
        _required("top_features", "array<string>", "Distinguishing features, strongest first"),
    ),
    retention=Retention("gold_nights"),
)

SEGMENT_MEMBERS = Table(
    "gold.segment_members",
    "Membership of one client in one segment",
    ("run_date", "user_id"),
    (
        _RUN_DATE,
        _required("segment_id", "string", "Segment"),
        _USER,
        _required("affinity", "double", "Share of the client's strongest neighbours that are in the segment"),
    ),
    retention=Retention("gold_nights"),
)

SEGMENT_ITEMS = Table(
    "gold.segment_items",
    "One item that stands for a segment, or that nobody would expect of it",
    ("run_date", "segment_id", "kind", "rank"),
    (
        _RUN_DATE,
        _required("segment_id", "string", "Segment"),
        _required(
            "kind",
            "string",
            "typical, or surprising: without any of the features that distinguish the segment",
        ),
        _required("rank", "int", "1 is the strongest of its kind"),
        _ITEM,
        _required("share", "double", "Share of the segment's clients who have it"),
        _required("lift", "double", "That share over the share among the clients of all segments"),
    ),
    retention=Retention("gold_nights"),
)

SEGMENT_CHANGES = Table(
    "gold.segment_changes",
    "What became of one segment since the night before",
    ("run_date", "segment_id"),
    (
        _RUN_DATE,
        _required("segment_id", "string", "Segment; of one that died the name it had"),
        _required("change", "string", "kept, born or died"),
        _required("size", "int", "Clients tonight; 0 where it died"),
        _required("size_before", "int", "Clients the night before; 0 where it was born"),
        _required("shared", "int", "Clients that were in it both nights"),
        _required("similarity", "double", "Shared clients over clients of either night"),
    ),
    {"change_known": "change IN ('kept', 'born', 'died')"},
    retention=Retention("gold_nights"),
)

HERO_ITEMS = Table(
    "gold.hero_items",
    "One item that resonates across segments",
    ("run_date", "item_id"),
    (
        _RUN_DATE,
        _ITEM,
        _required("rank", "int", "1 is the strongest"),
        _required(
            "segments_reached", "int", "Segments in which it is recommended to clients more than by chance"
        ),
        _required("reach", "int", "Clients it is recommended to"),
        _required(
            "lift", "double", "Recommended share of clients over the share of clients who already have it"
        ),
    ),
    retention=Retention("gold_nights"),
)

AUDIENCES = Table(
    "gold.audiences",
    "One client of one campaign audience",
    ("run_date", "campaign_id", "user_id"),
    (
        _RUN_DATE,
        _required("campaign_id", "string", "Campaign; hero:<item_id> for the audience of a hero item"),
        _USER,
        _required("rank", "int", "1 is the best fit"),
        _required("score", "double", "Fit"),
        Column(
            "item_id", "string", "Article of the campaign that fits the client best; null where it has none"
        ),
        Column("reason", "string", "Why the client is in the audience; null for hero items"),
        Column("holdout", "boolean", "Whether the client is not to be contacted; null for hero items"),
    ),
    retention=Retention("gold_nights"),
)

CAMPAIGNS = Table(
    "gold.campaigns",
    "One campaign of one night: what its brief asked for and what came of it",
    ("run_date", "campaign_id"),
    (
        _RUN_DATE,
        _required("campaign_id", "string", "Campaign, as its brief names it"),
        _required("name", "string", "Name for people"),
        _required("status", "string", "done, or skipped where it could not run"),
        Column("note", "string", "What the brief names and the lake lacks, or why the campaign was skipped"),
        _required("target_kind", "string", "items, theme or segment"),
        Column("target", "string", "Words of the theme, or identifier of the segment"),
        _required("target_items", "map<string,double>", "Articles that clients were judged by, with weights"),
        _required("asked_size", "int", "Size that was asked for, the holdout included"),
        _required("holdout_share", "double", "Share of the audience that is not to be contacted"),
        _required("eligible", "bigint", "Clients who could have been chosen"),
        _required("found", "int", "Clients in the audience, the holdout included"),
        _required("holdout", "int", "Of these not to be contacted"),
        _required(
            "excluded",
            "map<string,bigint>",
            "Clients left out, by the first rule that did: see docs/campaigns.md",
        ),
        _required("brief_hash", "string", "Hash of the brief: another one is another request"),
    ),
    {"status_known": "status IN ('done', 'skipped')"},
    retention=Retention("gold_nights"),
)

CAMPAIGN_OVERLAPS = Table(
    "gold.campaign_overlaps",
    "Clients that a campaign's audience shares with those of another campaign of earlier nights",
    ("run_date", "campaign_id", "other_campaign_id"),
    (
        _RUN_DATE,
        _required("campaign_id", "string", "Campaign of this night"),
        _required("other_campaign_id", "string", "Campaign of earlier nights"),
        _required(
            "last_night", "date", "Last night before this one on which the other campaign had an audience"
        ),
        _required("shared_clients", "bigint", "Clients in both, holdouts included"),
        _required("share", "double", "Share of this night's audience"),
    ),
    retention=Retention("gold_nights"),
)

PUBLICATIONS = Table(
    "gold.publications",
    "One publication; the row with the largest sequence that is not 'added' names the night that consumers see",
    ("sequence",),
    (
        _required("sequence", "bigint", "1 is the first publication"),
        _required("run_date", "date", "Night"),
        _required("run_id", "string", "Run or command that did it"),
        _required("published_at", "timestamp", "When (UTC)"),
        _required(
            "action",
            "string",
            "published (its gates had passed), rolled back (made current again), or added (published beside a later "
            "night, which stays the current one)",
        ),
        _required(
            "versions",
            "map<string,bigint>",
            "Delta version of each delivered table that holds the night as it was then",
        ),
    ),
    {"action_known": "action IN ('published', 'added', 'rolled back')"},
)

RUNS = Table(
    "ops.runs",
    "One stage of one run",
    ("run_id", "stage"),
    (
        _required("run_id", "string", "Run"),
        _required("run_date", "date", "Night"),
        _required("stage", "string", "Stage"),
        _required(
            "status",
            "string",
            "done, partial (a budget ended it early), failed, or skipped (nothing it depends on has changed)",
        ),
        _required("started_at", "timestamp", "Start"),
        _required("finished_at", "timestamp", "End"),
        _required("seconds", "double", "Wall time"),
        Column("rows_in", "bigint", "Rows of the sources, or of all tables that were read"),
        Column("rows_out", "bigint", "Rows written"),
        _required("llm_calls", "bigint", "Calls of the language model"),
        _required("llm_tokens", "bigint", "Prompt and output tokens"),
        _required("input_versions", "map<string,bigint>", "Version of each table read"),
        _required("config_hash", "string", "Hash of the effective settings"),
        _required("code_version", "string", "Version of the package"),
        Column(
            "error",
            "string",
            "One line of a failed stage, or the limit that a partial one reached",
            may_mention_clients=True,
        ),
        Column("output_versions", "map<string,bigint>", "Version of each table written, after the stage"),
        Column("sequence", "bigint", "Grows from record to record; null in those of older versions"),
    ),
    retention=Retention("ops_days", "finished_at"),
)

LEASE = Table(
    "ops.lease",
    "Who holds a lake that lies in an object store; one row",
    ("name",),
    (
        _required("name", "string", "Always 'lake'"),
        Column("run_id", "string", "Run that holds it; null when it is free"),
        _required("host", "string", "Machine of the holder's driver"),
        _required("pid", "int", "Process of the holder's driver"),
    ),
)

GATES = Table(
    "ops.gates",
    "What one quality gate found in one night, the last time it was measured",
    ("run_date", "gate"),
    (
        _RUN_DATE,
        _required("gate", "string", "Name of the gate"),
        Column("value", "double", "What was measured; null where nothing could be"),
        _required("allowed", "double", "The limit"),
        _required("at_least", "boolean", "Whether the limit is the least to reach, or else the most allowed"),
        Column("passed", "boolean", "Whether the limit is kept; null where nothing was measured"),
        _required("setting", "string", "Key of the setting that holds the limit"),
        _required("detail", "string", "What was measured on what"),
        _required("run_id", "string", "Run that measured"),
    ),
    retention=Retention("ops_days"),
)

METRICS = Table(
    "ops.metrics",
    "One measured value of one night",
    ("run_date", "metric", "slice"),
    (
        _RUN_DATE,
        _required("metric", "string", "Dotted name"),
        _required("slice", "string", "Part of the data; 'all' for the whole"),
        _required("value", "double", "Value"),
    ),
    retention=Retention("ops_days"),
)

ERASED = Table(
    "ops.erased",
    "One client who was erased: ingest leaves out the rows of whoever has this hash",
    ("client_hash",),
    (
        _required("client_hash", "string", "SHA-256 of the salt and the client's identifier"),
        _required("salt", "string", "Random, the same for all rows of this lake"),
        _required("erased_at", "timestamp", "When the erasure began (UTC)"),
        _required("run_id", "string", "Command that erased"),
    ),
)

ALL_TABLES: dict[str, Table] = {
    table.name: table
    for table in (
        INTERACTIONS,
        ITEMS,
        CLIENTS,
        QUARANTINE,
        ANSWERS,
        ITEM_FEATURES,
        USER_FEATURES,
        EMBEDDINGS,
        VERTICES,
        EDGES,
        FIELD_WEIGHTS,
        PROFILE_WEIGHTS,
        SIMILARITY,
        PROFILES,
        INTEREST_MODEL,
        INTEREST_PARAMETERS,
        PROGRESS,
        RECOMMENDATIONS,
        RELATED_ITEMS,
        SEGMENTS,
        SEGMENT_MEMBERS,
        SEGMENT_ITEMS,
        SEGMENT_CHANGES,
        HERO_ITEMS,
        AUDIENCES,
        PUBLICATIONS,
        CAMPAIGNS,
        CAMPAIGN_OVERLAPS,
        RUNS,
        GATES,
        LEASE,
        METRICS,
        *STAR_TABLES,
        ERASED,
    )
}

#: Those that consumers read night by night, see :attr:`isrf_pipeline.lake.schema.Table.is_delivered`.
DELIVERED: tuple[Table, ...] = tuple(table for table in ALL_TABLES.values() if table.is_delivered)

#: The pending table of each of them, by name.
WAITING: dict[str, Table] = {table.pending.name: table.pending for table in DELIVERED}

#: Note of the commits that rounds of optimization make, in tables that stand before the rounds and are rebuilt in them.
ROUND_NOTE = "round of optimization"
#: Note of the commits that maintenance makes: they change no row that a stage reads.
MAINTENANCE_NOTE = "maintenance"
REBUILT_IN_ROUNDS: tuple[Table, ...] = (PROFILES, SIMILARITY)
