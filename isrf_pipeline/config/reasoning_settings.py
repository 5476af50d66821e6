"""Settings of the language model and of the text encoder."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from isrf_pipeline.config.section import Section


class ReasoningItems(Section):
    """Reasoning over the catalogue."""

    enabled: bool = Field(default=True, description="Whether the catalogue is reasoned over.")
    max_items: int | None = Field(
        default=None,
        ge=0,
        description="Ask for at most so many items, those on sale and the newest first; None is no limit.",
    )


class ReasoningUsers(Section):
    """Reasoning over clients."""

    enabled: bool = Field(default=True, description="Whether clients are reasoned over.")
    newest_items: int = Field(
        default=20, ge=1, description="How many of a client's newest items the model reads."
    )
    max_clients: int | None = Field(
        default=None,
        ge=0,
        description="Ask for at most so many clients, the most recently active first; None is no limit.",
    )


class EngineSettings(Section):
    """The vLLM engine that each worker process keeps."""

    model: str = Field(
        default="bundled",
        description="Checkpoint folder or hub name; 'bundled' is the small model of the set-up.",
    )
    revision: str = Field(default="main", description="Revision of a model from a hub.")
    workers: int = Field(default=1, ge=1, description="Partitions, so engines, that reason at the same time.")
    wave: int = Field(default=128, ge=1, description="Subjects whose answers are committed together.")
    max_model_len: int = Field(
        default=2048, ge=512, description="Longest prompt and answer together, in tokens."
    )
    max_num_seqs: int = Field(default=64, ge=1, description="Requests that the engine works on at once.")
    temperature: float = Field(
        default=0.0, ge=0, description="Sampling temperature; 0 takes the likeliest token."
    )
    seed: int = Field(default=0, description="Seed of the engine.")
    dtype: str = Field(
        default="auto",
        description="Number format of the weights; auto is the model's own, but float32 on a CPU without bfloat16.",
    )
    enforce_eager: bool = Field(
        default=True, description="Run without compiling the model: starts sooner and needs no compiler."
    )
    kv_cache_gib: int = Field(default=1, ge=1, description="Key-value cache of a CPU engine.")
    threads: int | None = Field(default=None, description="CPU threads of an engine; None is all cores.")
    gpu_memory_utilization: float = Field(
        default=0.9, gt=0, le=1, description="Share of a GPU's memory that the engine takes."
    )


class ReasoningSettings(Section):
    """The language model's part."""

    backend: Literal["engine", "none"] = Field(
        default="engine", description="none: no language model; text embeddings of the attributes stand in."
    )
    mode: Literal["chained", "single"] = Field(
        default="chained",
        description="chained: one call a step as published. single: one guided answer holds all steps.",
    )
    engine: EngineSettings = EngineSettings()
    items: ReasoningItems = ReasoningItems()
    users: ReasoningUsers = ReasoningUsers()
    max_failed_share: float = Field(
        default=0.2,
        ge=0,
        le=1,
        description="Above this share of dead letters in a run the run stops with exit code 4.",
    )


class EmbeddingSettings(Section):
    """The text encoder."""

    model: str = Field(
        default="bundled", description="Encoder folder or hub name; 'bundled' is all-MiniLM-L6-v2."
    )
    batch_size: int = Field(default=64, ge=1, description="Texts that are encoded together.")
    max_tokens: int = Field(default=64, ge=16, description="Texts are cut to so many tokens.")
    partitions: int | None = Field(default=None, description="Parallel encoders; None is one a core.")
    leave_out_attributes: list[str] = Field(
        default_factory=list,
        description="Attributes whose values are not embedded, such as copies of the title.",
    )
    title_weight: float = Field(
        default=2.0, gt=0, description="Weight of title and description; attributes weigh 1."
    )
    feature_weight: float = Field(
        default=0.5,
        ge=0,
        description="Weight of the model's words; attributes weigh 1.",
    )
