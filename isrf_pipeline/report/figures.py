"""What the report shows, as plain values: all of it small, none of it tied to Spark."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from dataclasses import dataclass, field

from isrf_pipeline.report.rules import RulesFigures


@dataclass(frozen=True)
class NamedCount:
    """How often something occurs."""

    name: str
    count: int


@dataclass(frozen=True)
class StageFigure:
    """One stage of the night, as ops.runs has it."""

    stage: str
    status: str
    seconds: float
    rows_in: int | None = None
    rows_out: int | None = None
    llm_calls: int = 0
    llm_tokens: int = 0
    error: str | None = None


@dataclass(frozen=True)
class QuarantineFigure:
    """Rows of one source that broke one rule."""

    source: str
    rule: str
    rows: int


@dataclass(frozen=True)
class ModelScore:
    """Accuracy of one recommender on the held-out events.

    Attributes
    ----------
    model
        isrf, or the name of a peer.
    values
        HR@5, NDCG@5, HR@10, NDCG@10 to a value between 0 and 1; a missing one was not measured.
    """

    model: str
    values: Mapping[str, float]


@dataclass(frozen=True)
class MeasureTable:
    """Measures of one kind, one row a slice.

    Attributes
    ----------
    name
        What was measured, for example interaction_graph.
    measures
        Names of the columns.
    rows
        (slice, one value a column); None where it was not measured.
    """

    name: str
    measures: tuple[str, ...]
    rows: tuple[tuple[str, tuple[float | None, ...]], ...]


@dataclass(frozen=True)
class RoundFigure:
    """Measures of one round of optimization by name, for example validation_ndcg@10."""

    round: int
    values: Mapping[str, float]


@dataclass(frozen=True)
class ChosenModel:
    """What validation chose for the fusion of explicit and implicit interest."""

    round: int
    implicit_weight: float
    semantic_weight: float
    feedback_weight: float
    sequence_weight: float
    generator_weight: float
    ranked_by: str


@dataclass(frozen=True)
class AnswerFigure:
    """Stored answers of the language model of one kind."""

    kind: str
    answered: int
    dead: int


@dataclass(frozen=True)
class DeadLetterFigure:
    """Answers of one kind that could not be used, for one reason."""

    kind: str
    reason: str
    count: int


@dataclass(frozen=True)
class FeatureExample:
    """What the model wrote about one item."""

    item_id: str
    title: str
    brand: str | None
    feature: str
    who_for: str | None
    who_not_for: str | None
    tags: tuple[str, ...]


@dataclass(frozen=True)
class WordsFigure:
    """What validation made of one part of the model's words.

    Attributes
    ----------
    field
        feature, tags or interest.
    weight
        The weight it has; 0 where it is left out.
    gain, error
        Gain of validation NDCG@10 at the best weight tried and its standard error; None where not measured.
    """

    field: str
    weight: float
    gain: float | None
    error: float | None


@dataclass(frozen=True)
class ReasoningFigures:
    """The language model's part.

    Attributes
    ----------
    backend
        engine, or none where text of the attributes stands in.
    model
        Configured model.
    small_model
        Whether that is the small bundled model, which proves the machinery and not the reasoning.
    item_origins, user_origins
        Rows by where the text comes from.
    missing_reasons
        Why items have no answer, most frequent first.
    answers, dead_letters
        The cache of answers.
    examples
        A few items, chosen by hash.
    words
        Parts of the model's words that validation judged.
    """

    backend: str = "none"
    model: str = ""
    small_model: bool = False
    item_origins: tuple[NamedCount, ...] = ()
    user_origins: tuple[NamedCount, ...] = ()
    missing_reasons: tuple[NamedCount, ...] = ()
    answers: tuple[AnswerFigure, ...] = ()
    dead_letters: tuple[DeadLetterFigure, ...] = ()
    examples: tuple[FeatureExample, ...] = ()
    words: tuple[WordsFigure, ...] = ()


@dataclass(frozen=True)
class SegmentFigure:
    """One segment.

    Attributes
    ----------
    segment_id, name, description, size
        As in gold.segments.
    top_features
        Distinguishing features, strongest first.
    change, size_before
        What became of it since the night before, and how many clients it had then; None where it is not known.
    typical, surprising
        Titles of items that stand for it, and of items that nobody would expect of it.
    """

    segment_id: str
    name: str
    description: str
    size: int
    top_features: tuple[str, ...]
    change: str | None = None
    size_before: int | None = None
    typical: tuple[str, ...] = ()
    surprising: tuple[str, ...] = ()


@dataclass(frozen=True)
class HeroFigure:
    """One hero item."""

    item_id: str
    title: str
    brand: str | None
    segments_reached: int
    reach: int
    lift: float


@dataclass(frozen=True)
class GateFigure:
    """One quality gate: what was measured beside its limit.

    Attributes
    ----------
    name
        Of the gate.
    value
        None where nothing could be measured.
    allowed
        The limit.
    at_least
        Whether the limit is the least to reach, or else the most allowed.
    passed
        None where nothing was measured.
    setting
        Key of the limit.
    detail
        What was measured on what.
    """

    name: str
    value: float | None
    allowed: float
    at_least: bool
    passed: bool | None
    setting: str
    detail: str


@dataclass(frozen=True)
class NightFigure:
    """One of the last nights, as ops.runs and gold.publications tell it.

    Attributes
    ----------
    run_date
        The night.
    published
        Whether it passed its gates.
    current
        Whether it is what consumers see.
    runs
        How many runs it took.
    seconds, llm_calls
        Of all of them.
    story
        What went wrong on the way, one clause each.
    changes
        What the sources brought since the night before it.
    erased
        Clients who were erased after it, before the next one ran.
    """

    run_date: datetime.date
    published: bool
    current: bool
    runs: int
    seconds: float
    llm_calls: int
    story: tuple[str, ...] = ()
    changes: tuple[NamedCount, ...] = ()
    erased: int = 0


@dataclass(frozen=True)
class OverlapFigure:
    """Clients whom an audience shares with an earlier campaign, and their share of the audience."""

    campaign_id: str
    clients: int
    share: float


@dataclass(frozen=True)
class CampaignFigure:
    """One campaign of the night.

    Attributes
    ----------
    campaign_id, name, target_kind
        As its brief has them.
    note
        What the brief names and the lake lacks; None where nothing is to be said.
    skipped
        Whether it could not run.
    asked, found, held_out
        Clients asked for, found, and of these not to be contacted.
    left_out
        Clients left out by the rule that did, most first.
    overlaps
        Largest first.
    """

    campaign_id: str
    name: str
    target_kind: str
    note: str | None
    skipped: bool
    asked: int
    found: int
    held_out: int
    left_out: tuple[NamedCount, ...] = ()
    overlaps: tuple[OverlapFigure, ...] = ()


@dataclass(frozen=True)
class HistoryItem:
    """One item of a client's history: its strongest event type and its last day."""

    item_id: str
    title: str
    brand: str | None
    event_type: str
    day: datetime.date


@dataclass(frozen=True)
class ClientRecommendation:
    """One recommendation of an example client."""

    rank: int
    item_id: str
    title: str
    brand: str | None
    reason: str
    explicit_share: float
    implicit_share: float
    because_items: tuple[str, ...]


@dataclass(frozen=True)
class ClientExample:
    """One client, without name: history on one side, recommendations on the other.

    Attributes
    ----------
    user_id
        Client.
    segment
        Name of the segment; None where the client has none.
    interest
        Interest text; None where there is none.
    items_known
        Distinct items of the whole history, of which ``history`` shows a part.
    history
        Newest first; the latest items, then older ones that a recommendation rests on.
    recommendations
        Best first.
    """

    user_id: str
    segment: str | None
    interest: str | None
    items_known: int
    history: tuple[HistoryItem, ...]
    recommendations: tuple[ClientRecommendation, ...]


@dataclass(frozen=True)
class ReportFigures:
    """All figures of one night's report; whatever no stage has written is empty."""

    run_date: datetime.date
    environment: str
    code_version: str = ""
    config_hash: str = ""
    clients: int = 0
    clients_served: int = 0
    recommendations: int = 0
    items: int = 0
    items_available: int = 0
    items_recommended: int = 0
    events: tuple[NamedCount, ...] = ()
    stages: tuple[StageFigure, ...] = ()
    quarantine: tuple[QuarantineFigure, ...] = ()
    ingest_measures: tuple[MeasureTable, ...] = ()
    scores: tuple[ModelScore, ...] = ()
    clients_measured: int = 0
    reasoning: ReasoningFigures = field(default_factory=ReasoningFigures)
    graphs: tuple[MeasureTable, ...] = ()
    rounds: tuple[RoundFigure, ...] = ()
    chosen: ChosenModel | None = None
    segment_count: int = 0
    segmented_clients: int = 0
    segments: tuple[SegmentFigure, ...] = ()
    segments_died: int = 0
    heroes: tuple[HeroFigure, ...] = ()
    campaigns: tuple[CampaignFigure, ...] = ()
    rules: RulesFigures = field(default_factory=RulesFigures)
    examples: tuple[ClientExample, ...] = ()
    gates: tuple[GateFigure, ...] = ()
    changes: tuple[NamedCount, ...] = ()
    nights: tuple[NightFigure, ...] = ()

    @property
    def wall_seconds(self) -> float:
        """Seconds of all stages together, the export that writes this report not counted."""
        return sum(stage.seconds for stage in self.stages)

    @property
    def llm_calls(self) -> int:
        """Calls of the language model this night; answers from the cache cost none."""
        return sum(stage.llm_calls for stage in self.stages)

    @property
    def llm_tokens(self) -> int:
        """Prompt and output tokens of these calls."""
        return sum(stage.llm_tokens for stage in self.stages)
