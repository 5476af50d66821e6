"""The typed settings of a run, validated by pydantic; one YAML file per environment fills them.

Every default that a user may want to know stands here with a description, and nowhere else.
"""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator


class Section(BaseModel):
    """Base of all settings: unknown keys are refused and values do not change after validation."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class LakeSettings(Section):
    """Where tables live."""

    root: str = Field(description="Folder or object-store prefix that holds the Delta tables and exports.")
    catalog: str | None = Field(
        default=None, description="Catalog name; when set, tables are addressed as catalog.schema_table instead of by path."
    )


class SparkSettings(Section):
    """How the Spark session is built when the pipeline starts one itself."""

    master: str | None = Field(default=None, description="Spark master; empty means what spark-submit gave, else local[*].")
    app_name: str = "isrf"
    driver_memory: str = Field(default="4g", description="Heap of the driver, which is also the executor in local mode.")
    shuffle_partitions: int = Field(default=4, ge=1)
    conf: dict[str, str] = Field(default_factory=dict, description="Further Spark properties, passed on unchanged.")


class ColumnMapping(Section):
    """Source columns of one interaction source."""

    user_id: str = "user_id"
    item_id: str = "item_id"
    ts: str = "ts"


class InteractionSource(Section):
    """One source of interactions, all of the same event type."""

    name: str
    path: str
    format: Literal["csv", "jsonl", "parquet", "delta"]
    event_type: str
    columns: ColumnMapping = ColumnMapping()
    amount_column: str | None = Field(default=None, description="Column whose negative values break the rule negative_price.")
    encoding: str = "UTF-8"


class ItemColumns(Section):
    """Source columns of the catalogue; None means that the source has no such column."""

    item_id: str = "item_id"
    title: str = "title"
    brand: str | None = None
    categories: str | None = None
    description: str | None = None
    price: str | None = None
    available: str | None = None
    launched_on: str | None = None
    attributes: list[str] = Field(default_factory=list, description="Further columns kept as named attributes.")


class ItemSource(Section):
    """The catalogue."""

    path: str
    format: Literal["csv", "jsonl", "parquet", "delta"]
    columns: ItemColumns = ItemColumns()
    encoding: str = "UTF-8"


class ClientColumns(Section):
    """Source columns of the client file."""

    user_id: str = "user_id"
    consent: str | None = None
    attributes: list[str] = Field(default_factory=list, description="Allow-listed columns; all others are not even read.")


class ClientSource(Section):
    """The client file."""

    path: str
    format: Literal["csv", "jsonl", "parquet", "delta"]
    columns: ClientColumns = ClientColumns()
    encoding: str = "UTF-8"


class ResearchSource(Section):
    """A research set in the format of the benchmark (interactions.csv.gz and items.jsonl.gz)."""

    path: str
    shuffle_ties: int | None = Field(default=None, description="Seed that shuffles each client's events of one day.")


class IngestSettings(Section):
    """Sources and the rules their rows must keep."""

    interactions: list[InteractionSource] = Field(default_factory=list)
    items: ItemSource | None = None
    clients: ClientSource | None = None
    research: ResearchSource | None = None
    event_weights: dict[str, float] = Field(
        default_factory=lambda: {"purchase": 1.0, "wishlist": 0.6, "view": 0.3},
        description="Weight of each event type; a source with another type is refused.",
    )
    earliest_event: str = Field(default="2000-01-01", description="Events before this day are impossible timestamps.")
    max_text_chars: int = Field(default=4000, ge=100, description="Longer titles or descriptions break the rule overlong_text.")
    max_quarantine_share: float = Field(
        default=0.05, ge=0, le=1, description="Above this share of a source's rows the run stops with exit code 3."
    )

    @model_validator(mode="after")
    def _event_types_have_weights(self) -> IngestSettings:
        for source in self.interactions:
            if source.event_type not in self.event_weights:
                raise ValueError(
                    f"event type '{source.event_type}' of source '{source.name}' has no weight in ingest.event_weights"
                )
        if self.research is not None and (self.interactions or self.items or self.clients):
            raise ValueError("ingest.research cannot be combined with other sources")
        return self


class SplitSettings(Section):
    """Which events are fitted on and which are kept for measuring."""

    policy: Literal["leave_one_out", "none"] = Field(
        default="leave_one_out",
        description="leave_one_out: each client's last event is test, the one before is validation. none: fit on everything.",
    )
    min_train_events: int = Field(default=1, ge=1, description="Clients with fewer training events left are not split.")


class ReasoningItems(Section):
    """Reasoning over the catalogue."""

    enabled: bool = True
    max_items: int | None = Field(default=None, ge=0, description="Ask for at most so many new items a run; None is no limit.")


class ReasoningUsers(Section):
    """Reasoning over clients."""

    enabled: bool = True
    newest_items: int = Field(default=20, ge=1, description="How many of a client's newest items the model reads.")
    max_clients: int | None = Field(
        default=None, ge=0, description="Ask for at most so many clients a run, most recent first; None is no limit."
    )


class EngineSettings(Section):
    """The vLLM engine that each worker process keeps."""

    model: str = Field(default="bundled", description="Checkpoint folder or hub name; 'bundled' is the small model of the set-up.")
    revision: str = "main"
    workers: int = Field(default=1, ge=1, description="Partitions, so engines, that reason at the same time.")
    wave: int = Field(default=128, ge=1, description="Subjects whose answers are committed together.")
    max_model_len: int = Field(default=2048, ge=512)
    max_num_seqs: int = Field(default=64, ge=1)
    temperature: float = Field(default=0.0, ge=0)
    seed: int = 0
    dtype: str = "bfloat16"
    kv_cache_gib: int = Field(default=1, ge=1, description="Key-value cache of a CPU engine.")
    threads: int | None = Field(default=None, description="CPU threads of an engine; None is all cores.")
    gpu_memory_utilization: float = Field(default=0.9, gt=0, le=1)


class ReasoningSettings(Section):
    """The language model's part."""

    backend: Literal["engine", "none"] = Field(
        default="engine", description="none: no language model; text embeddings of the attributes stand in."
    )
    mode: Literal["chained", "single"] = Field(
        default="chained", description="chained: one call a step as published. single: one guided answer holds all steps."
    )
    engine: EngineSettings = EngineSettings()
    items: ReasoningItems = ReasoningItems()
    users: ReasoningUsers = ReasoningUsers()
    max_failed_share: float = Field(
        default=0.2, ge=0, le=1, description="Above this share of dead letters in a run the run stops with exit code 4."
    )


class EmbeddingSettings(Section):
    """The text encoder."""

    model: str = Field(default="bundled", description="Encoder folder or hub name; 'bundled' is all-MiniLM-L6-v2.")
    batch_size: int = Field(default=64, ge=1)
    max_tokens: int = Field(default=64, ge=16, description="Texts are cut to so many tokens.")
    partitions: int | None = Field(default=None, description="Parallel encoders; None is one a core.")


class InteractionGraphSettings(Section):
    """The semantic interaction graph and its sequential item-item model."""

    window: int = Field(default=10, ge=1, description="Steps back and ahead that the item-item model looks at.")
    decay: float = Field(default=0.6, gt=0, lt=1, description="Weight of one more step back or ahead.")
    cooccurrence_weight: float = Field(default=0.25, ge=0)
    semantic_weight: float = Field(default=150.0, ge=0, description="Weight of the text kernel in the item-item model.")
    ridge: float = Field(default=50.0, gt=0)
    max_dense_items: int = Field(
        default=25_000, ge=1, description="Up to so many items the model is solved in closed form on the driver."
    )
    edges_per_item: int = Field(default=200, ge=1)
    semantic_neighbours: int = Field(default=20, ge=1)


class UserGraphSettings(Section):
    """The user-similarity graph and the segments found in it."""

    neighbours: int = Field(default=100, ge=1, description="Top-K similar clients (K = 100 in the paper).")
    sharpness: float = Field(default=12.0, gt=0, description="Similarity is raised to this power before weighting.")
    history_decay: float = Field(default=0.75, gt=0, le=1, description="Weight of one more step back in a client's profile.")
    text_weight: float = Field(default=0.5, ge=0, description="Weight of the client's own interest text in the profile.")
    block_users: int = Field(default=4096, ge=64, description="Clients in one block of the exact search.")
    community_neighbours: int = Field(default=15, ge=2, description="Strongest neighbours that communities are found on.")
    community_rounds: int = Field(default=12, ge=1)
    min_segment_size: int = Field(default=20, ge=1)


class OptimizeSettings(Section):
    """Iterative batch optimization."""

    rounds: int = Field(default=2, ge=2, le=10)
    guidance: float = Field(default=0.5, ge=0, description="How strongly explicit interest shapes the next round's profile.")
    feedback: float = Field(default=0.1, ge=0, description="How strongly group interest enters the next round's explicit input.")
    guide_items: int = Field(default=20, ge=1, description="Strongest explicit items that guide a profile.")
    implicit_weights: list[float] = Field(
        default_factory=lambda: [0.0, 0.05, 0.1, 0.2, 0.4, 0.8], description="Validation chooses one of these."
    )
    semantic_weights: list[float] = Field(
        default_factory=lambda: [0.0, 0.1, 0.2], description="Validation chooses one of these."
    )


class RecommendSettings(Section):
    """The lists that are delivered."""

    top_n: int = Field(default=20, ge=1, le=200)
    candidates: int = Field(default=200, ge=20, description="Strongest items of each kind of interest that are ranked.")
    exclude_seen: list[str] = Field(
        default_factory=lambda: ["purchase"], description="Event types whose items are not recommended again."
    )
    only_available: bool = True
    related_items: int = Field(default=10, ge=1)
    hero_items: int = Field(default=20, ge=1)


class EvaluationSettings(Section):
    """What the run is compared with, and when it is held back."""

    peers: list[Literal["popularity", "mllib_als"]] = Field(default_factory=list)
    als_rank: int = 64
    als_iterations: int = 10
    als_alpha: float = 20.0
    als_regularization: float = 0.05
    min_client_coverage: float = Field(
        default=0.9, ge=0, le=1, description="Gate: share of clients that must get a list, else exit code 4."
    )


class ExportSettings(Section):
    """Files for CRM and BI."""

    directory: str | None = Field(default=None, description="Where files go; None is <lake root>/exports.")
    crm_recommendations: int = Field(default=3, ge=1, le=20, description="Recommendations in one CRM row.")
    require_consent: bool = Field(default=True, description="Only clients with marketing consent reach CRM files.")
    example_clients: int = Field(default=6, ge=1, le=50, description="Client examples in the report.")


class Settings(Section):
    """All settings of a run."""

    environment: str = "local"
    lake: LakeSettings
    spark: SparkSettings = SparkSettings()
    ingest: IngestSettings = IngestSettings()
    split: SplitSettings = SplitSettings()
    reasoning: ReasoningSettings = ReasoningSettings()
    embedding: EmbeddingSettings = EmbeddingSettings()
    interaction_graph: InteractionGraphSettings = InteractionGraphSettings()
    user_graph: UserGraphSettings = UserGraphSettings()
    optimize: OptimizeSettings = OptimizeSettings()
    recommend: RecommendSettings = RecommendSettings()
    evaluation: EvaluationSettings = EvaluationSettings()
    export: ExportSettings = ExportSettings()
