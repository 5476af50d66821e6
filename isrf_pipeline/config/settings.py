"""The typed settings of a run, validated by pydantic; one YAML file per environment fills them.

Every default that a user may want to know stands here with a description, and nowhere else.
"""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from isrf_pipeline.config.campaign_settings import CampaignSettings
from isrf_pipeline.config.export_settings import ExportSettings
from isrf_pipeline.config.gate_settings import GateSettings
from isrf_pipeline.config.generator_settings import GeneratorSettings
from isrf_pipeline.config.ingest_settings import (
    ClientColumns,
    ClientSource,
    ColumnMapping,
    IngestSettings,
    InteractionSource,
    ItemColumns,
    ItemSource,
    ResearchSource,
)
from isrf_pipeline.config.learning_settings import AlignmentSettings, RankerSettings, SequenceSettings
from isrf_pipeline.config.maintenance_settings import MaintenanceSettings
from isrf_pipeline.config.peer_settings import (
    Bm25Settings,
    EaseSettings,
    ImplicitAlsSettings,
    MllibAlsSettings,
    SasRecSettings,
)
from isrf_pipeline.config.reasoning_settings import (
    BudgetSettings,
    EmbeddingSettings,
    EngineSettings,
    PriceSettings,
    ReasoningItems,
    ReasoningSettings,
    ReasoningUsers,
    ReplaySettings,
    ServerSettings,
)
from isrf_pipeline.config.rules_settings import RulesSettings
from isrf_pipeline.config.section import Section
from isrf_pipeline.config.split_settings import SplitSettings

__all__ = [
    "AlignmentSettings",
    "Bm25Settings",
    "BudgetSettings",
    "CampaignSettings",
    "ClientColumns",
    "ClientSource",
    "ColumnMapping",
    "EaseSettings",
    "EmbeddingSettings",
    "EngineSettings",
    "EvaluationSettings",
    "ExportSettings",
    "GateSettings",
    "GeneratorSettings",
    "ImplicitAlsSettings",
    "IngestSettings",
    "InteractionGraphSettings",
    "InteractionSource",
    "ItemColumns",
    "ItemSource",
    "LakeSettings",
    "MaintenanceSettings",
    "MllibAlsSettings",
    "OptimizeSettings",
    "PriceSettings",
    "RankerSettings",
    "ReasoningItems",
    "ReasoningSettings",
    "ReasoningUsers",
    "RecommendSettings",
    "ReplaySettings",
    "ResearchSource",
    "RulesSettings",
    "SasRecSettings",
    "Section",
    "SequenceSettings",
    "ServerSettings",
    "Settings",
    "SparkSettings",
    "SplitSettings",
    "UserGraphSettings",
]

#: What gives items a score: two kinds of edges of the interaction graph, the sequence model, the user-similarity graph,
#: the generator.
Scorer = Literal["followed", "semantic", "sequence", "group", "generator"]
#: Those that take part unless settings say otherwise: training the generator takes longer than all the rest.
_PLAIN_SCORERS: tuple[Scorer, ...] = ("followed", "semantic", "sequence", "group")


class LakeSettings(Section):
    """Where tables live."""

    root: str = Field(
        min_length=1, description="Folder or object-store prefix that holds the Delta tables and exports."
    )
    catalog: str | None = Field(
        default=None,
        description="Catalog name; when set, tables are addressed as catalog.schema.table, not by path.",
    )
    lease_seconds: int = Field(
        default=300,
        ge=10,
        description="A run that was silent for so long is dead, and the next takes over; on the same machine it is "
        "dead as soon as its process is gone.",
    )


class SparkSettings(Section):
    """How the Spark session is built when the pipeline starts one itself."""

    master: str | None = Field(
        default=None, description="Spark master; empty means what spark-submit gave, else local[*]."
    )
    app_name: str = Field(default="isrf", description="Name of the application in Spark's own pages.")
    driver_memory: str = Field(
        default="4g", description="Heap of the driver, which is also the executor in local mode."
    )
    shuffle_partitions: int = Field(
        default=4,
        ge=1,
        description="Partitions after a shuffle; few for a small lake, two or three a core for a large one.",
    )
    conf: dict[str, str] = Field(
        default_factory=dict, description="Further Spark properties, passed on unchanged."
    )

    @field_validator("conf", mode="before")
    @classmethod
    def _as_text(cls, conf: Any) -> Any:
        """Take numbers and switches as YAML gives them: Spark wants ``4`` and ``true`` as text."""
        if not isinstance(conf, dict):
            return conf
        return {
            key: str(value).lower()
            if isinstance(value, bool)
            else str(value)
            if isinstance(value, int | float)
            else value
            for key, value in conf.items()
        }


class InteractionGraphSettings(Section):
    """The semantic interaction graph and its sequential item-item model."""

    window: int = Field(
        default=10, ge=1, description="Steps back and ahead that the item-item model looks at."
    )
    decay: float = Field(
        default=0.4,
        gt=0,
        lt=1,
        description="Weight of one more step back or ahead from which the item-item model is learned; lists have "
        "optimize.history_decays.",
    )
    cooccurrence_weight: float = Field(
        default=0.25, ge=0, description="Weight of clients in common in the item-item model."
    )
    semantic_weight: float = Field(
        default=150.0, ge=0, description="Weight of the text kernel in the item-item model."
    )
    ridge: float = Field(
        default=50.0, gt=0, description="Regularization of the item-item model; more is smoother."
    )
    max_dense_items: int = Field(
        default=25_000,
        ge=1,
        description="Up to so many items the model is solved in closed form on the driver; for more of them item by "
        "item, over its neighbours, on the executors.",
    )
    local_neighbours: int = Field(
        default=600,
        ge=1,
        description="Neighbours over which an item is solved where it is solved by itself: half by behaviour, half by "
        "meaning.",
    )
    edges_per_item: int = Field(
        default=100, ge=1, description="Strongest item-item edges kept for each article."
    )
    feature_weights: list[float] = Field(
        default_factory=lambda: [0.0, 0.5, 1.0],
        description="Weights of the model's words in the item-item model beside embedding.title_weight and the others; "
        "validation chooses one, and 0 where none is better by more than the noise.",
    )
    tag_weights: list[float] = Field(
        default_factory=lambda: [0.0, 0.35, 0.7],
        description="The same for the tags that items share.",
    )
    validation_clients: int = Field(
        default=20_000,
        ge=100,
        description="At most so many clients, drawn by a hash of their identifier, judge these weights.",
    )
    semantic_neighbours: int = Field(
        default=20, ge=1, description="Edges to the articles nearest in meaning, for each article."
    )


class UserGraphSettings(Section):
    """The user-similarity graph and the segments found in it."""

    neighbours: int = Field(default=100, ge=1, description="Top-K similar clients (K = 100 in the paper).")
    sharpness: float = Field(
        default=12.0, gt=0, description="Similarity is raised to this power before weighting."
    )
    history_decay: float = Field(
        default=0.75, gt=0, le=1, description="Weight of one more step back in a client's profile."
    )
    text_weights: list[float] = Field(
        default_factory=lambda: [0.0, 0.25, 0.5],
        description="Weights of the client's own interest text in the profile beside the items of the history, which "
        "weigh 1; validation chooses one, and 0 where none is better by more than the noise.",
    )
    validation_clients: int = Field(
        default=1_000,
        ge=100,
        description="At most so many clients, drawn by a hash of their identifier, judge these weights.",
    )
    block_users: int = Field(default=4096, ge=64, description="Clients in one block of the exact search.")
    exact_users: int = Field(
        default=200_000,
        ge=0,
        description="Up to so many clients all are compared with all; beyond, an approximate index finds the similar "
        "ones, and the share of the true ones that it finds is measured.",
    )
    probed_cells: int = Field(
        default=48, ge=1, description="Cells of the approximate index that a client is compared with."
    )
    max_followers: int | None = Field(
        default=None,
        ge=1,
        description="A client is among the similar ones of at most so many others, those most similar to it, so that "
        "hubs do not pass their taste on to everybody; empty: no cap.",
    )
    community_neighbours: int = Field(
        default=15, ge=2, description="Strongest neighbours that communities are found on."
    )
    community_rounds: int = Field(default=4, ge=1, description="Rounds of label propagation.")
    segment_decay: float = Field(
        default=1.0,
        gt=0,
        le=1,
        description="As history_decay, for the profiles that segments are found with.",
    )
    community_resolution: float = Field(
        default=1.0,
        gt=0,
        description="Above 1 gives more and smaller segments, below 1 fewer and larger ones.",
    )
    min_segment_size: int = Field(
        default=20, ge=1, description="Smaller communities are merged into their nearest."
    )
    segments: bool = Field(default=True, description="Whether segments are found; nothing else needs them.")
    segment_continuity: float = Field(
        default=0.3,
        gt=0,
        le=1,
        description="A community continues the segment of the night before if at least this share of the clients of "
        "either is in both.",
    )
    segment_items: int = Field(
        default=5, ge=1, description="Typical and surprising items named for each segment."
    )


class OptimizeSettings(Section):
    """Iterative batch optimization."""

    scorers: list[Scorer] = Field(
        default_factory=lambda: [*_PLAIN_SCORERS],
        min_length=1,
        description="Which scorers take part: both kinds of edges of the interaction graph, the sequence model, "
        "the group of the user-similarity graph, and, where it is named, the generator, whose training takes longer "
        "than all the rest. What is left out is not computed where nothing else needs it.",
    )
    rounds: int = Field(
        default=2, ge=2, le=10, description="Rounds in which the two interests refine each other."
    )
    min_round_gain: float = Field(
        default=0.01,
        ge=0,
        description="A later round is delivered only if validation is better by this share than any earlier one's.",
    )
    patience: int = Field(
        default=2,
        ge=1,
        description="So many rounds in a row without that gain end the search before `rounds`.",
    )
    round: int | None = Field(
        default=None,
        ge=0,
        description="Deliver this round whatever validation says; empty: validation chooses. For measurements.",
    )
    guidance: float = Field(
        default=0.5, ge=0, description="How strongly explicit interest shapes the next round's profile."
    )
    feedback: float = Field(
        default=0.1, ge=0, description="How strongly group interest enters the next round's explicit input."
    )
    guide_items: int = Field(default=20, ge=1, description="Strongest explicit items that guide a profile.")
    implicit_weights: list[float] = Field(
        default_factory=lambda: [0.0, 0.2, 0.4, 0.8],
        description="Validation chooses one of these.",
    )
    semantic_weights: list[float] = Field(
        default_factory=lambda: [0.0, 0.1], description="Validation chooses one of these."
    )
    sequence_weights: list[float] = Field(
        default_factory=lambda: [0.0, 0.7], description="Validation chooses one of these."
    )
    generator_weights: list[float] = Field(
        default_factory=lambda: [0.0, 0.3, 0.7], description="Validation chooses one of these."
    )
    history_decays: list[float] = Field(
        default_factory=lambda: [0.6, 0.7, 0.8],
        min_length=1,
        description="Weight of one more step back in the history that lists follow from: validation chooses one of "
        "these in round 0. Each lies above 0 and below 1.",
    )
    validation_clients: int = Field(
        default=5_000,
        ge=100,
        description="At most so many clients, drawn by a hash of their identifier, judge rounds and weights.",
    )
    alignment: AlignmentSettings = AlignmentSettings()

    @property
    def middle_decay(self) -> float:
        """The middle one of ``history_decays``, where a history is looked at before validation has chosen."""
        return sorted(self.history_decays)[len(self.history_decays) // 2]

    @field_validator("history_decays")
    @classmethod
    def _decays_fade(cls, decays: list[float]) -> list[float]:
        for decay in decays:
            if not 0 < decay < 1:
                raise ValueError(f"each decay must lie above 0 and below 1, not at {decay}")
        return decays

    @model_validator(mode="after")
    def _round_is_run(self) -> Self:
        if self.round is not None and self.round > self.rounds:
            raise ValueError(f"round ({self.round}) must not lie behind the last of rounds ({self.rounds})")
        return self


class RecommendSettings(Section):
    """The lists that are delivered."""

    input: Literal["all", "before_test"] = Field(
        default="all",
        description="Events that lists are computed from; before_test leaves out the test events, for benchmarks.",
    )
    top_n: int = Field(default=20, ge=1, le=200, description="Recommendations for each client.")
    candidates: int = Field(
        default=200, ge=20, description="Strongest items of each kind of interest that are ranked."
    )
    exclude_seen: list[str] = Field(
        default_factory=lambda: ["purchase"], description="Event types whose items are not recommended again."
    )
    only_available: bool = Field(default=True, description="Whether only available articles are recommended.")
    client_attributes: list[str] = Field(
        default_factory=list,
        description="Attributes by which clients without any event are compared with others, for example country and "
        "tier; empty: they get what is popular.",
    )
    related_items: int = Field(default=10, ge=1, description="Related articles for each article.")
    taste_items: int = Field(
        default=30,
        ge=0,
        description="Newest items of a client from which it is told which items the same clients have, as one of the "
        "relations of related articles; 0: that relation is left out.",
    )
    hero_items: int = Field(default=20, ge=1, description="How many hero items are chosen.")

    @model_validator(mode="after")
    def _enough_candidates(self) -> Self:
        if self.candidates < self.top_n:
            raise ValueError(f"candidates ({self.candidates}) must not be fewer than top_n ({self.top_n})")
        return self


class EvaluationSettings(Section):
    """What the run is compared with."""

    peers: list[Literal["popularity", "mllib_als", "bm25", "implicit_als", "ease", "sasrec"]] = Field(
        default_factory=list, description="Baselines that are measured beside the recommendations."
    )
    mllib_als: MllibAlsSettings = MllibAlsSettings()
    bm25: Bm25Settings = Bm25Settings()
    implicit_als: ImplicitAlsSettings = ImplicitAlsSettings()
    ease: EaseSettings = EaseSettings()
    sasrec: SasRecSettings = SasRecSettings()


class Settings(Section):
    """All settings of a run."""

    environment: str = Field(
        default="local",
        description="Name of the environment, for people: it appears in the report and nowhere else.",
    )
    lake: LakeSettings
    spark: SparkSettings = SparkSettings()
    ingest: IngestSettings = IngestSettings()
    split: SplitSettings = SplitSettings()
    reasoning: ReasoningSettings = ReasoningSettings()
    embedding: EmbeddingSettings = EmbeddingSettings()
    interaction_graph: InteractionGraphSettings = InteractionGraphSettings()
    user_graph: UserGraphSettings = UserGraphSettings()
    optimize: OptimizeSettings = OptimizeSettings()
    sequence: SequenceSettings = SequenceSettings()
    generator: GeneratorSettings = GeneratorSettings()
    ranker: RankerSettings = RankerSettings()
    recommend: RecommendSettings = RecommendSettings()
    rules: RulesSettings = RulesSettings()
    campaigns: CampaignSettings = CampaignSettings()
    evaluation: EvaluationSettings = EvaluationSettings()
    gates: GateSettings = GateSettings()
    export: ExportSettings = ExportSettings()
    maintenance: MaintenanceSettings = MaintenanceSettings()

    @model_validator(mode="after")
    def _quota_fits_the_list(self) -> Self:
        asked, top_n = self.rules.new_arrivals.at_least, self.recommend.top_n
        if asked > top_n:
            raise ValueError(
                f"rules.new_arrivals.at_least ({asked}) must not exceed recommend.top_n ({top_n})"
            )
        return self
