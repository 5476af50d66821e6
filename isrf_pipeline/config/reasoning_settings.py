"""Settings of the language model and of the text encoder."""

from __future__ import annotations

import re
from typing import Literal

from pydantic import Field, field_validator

from isrf_pipeline.config.section import Section

#: Words in names of attributes that tell who somebody is.
_IDENTITY = frozenset(
    re.findall(
        r"\S+",
        "name firstname lastname surname fullname nom prenom mail email phone telephone tel mobile contact login "
        "address street passport iban ssn dob id userid clientid customerid ref reference uuid no number num",
    )
)


def _tells_identity(attribute: str) -> bool:
    """Whether the name of an attribute, in any of the usual spellings, stands for an identity or a day of birth."""
    words = {word.lower() for word in re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])", attribute)}
    return (
        bool(words & _IDENTITY) or bool("birth" in words and words & {"date", "day"}) or "birthdate" in words
    )


class ReasoningItems(Section):
    """Reasoning over the catalogue."""

    enabled: bool = Field(default=True, description="Whether the catalogue is reasoned over.")
    max_failed_share: float | None = Field(
        default=None,
        ge=0,
        le=1,
        description="Limit of dead letters among items; None is reasoning.max_failed_share.",
    )
    max_items: int | None = Field(
        default=None,
        ge=0,
        description="Ask for at most so many items: those on sale that clients chose, others on sale, the rest, "
        "each the newest first; None is no limit.",
    )


class ReasoningUsers(Section):
    """Reasoning over clients."""

    enabled: bool = Field(default=True, description="Whether clients are reasoned over.")
    tier: Literal["all", "changed", "prototypes"] = Field(
        default="all",
        description="all: every client has an answer of the current model and prompts. changed: a client whose "
        "history is the same keeps the answer he has, of whichever model. prototypes: the model is asked about the "
        "centre of each segment of the last night, and clients take their segment's text.",
    )
    order: Literal["recency", "value"] = Field(
        default="recency",
        description="Who is asked first: the most recently active, or those whose weighted events are worth most.",
    )
    attributes: list[str] = Field(
        default_factory=list,
        description="Attributes of clients that may stand in a prompt; none unless named here.",
    )
    max_failed_share: float | None = Field(
        default=None,
        ge=0,
        le=1,
        description="Limit of dead letters among clients; None is reasoning.max_failed_share.",
    )
    newest_items: int = Field(
        default=20, ge=1, description="How many of a client's newest items the model reads."
    )
    max_clients: int | None = Field(
        default=None,
        ge=0,
        description="Ask for at most so many clients, in the order above; None is no limit.",
    )

    @field_validator("attributes")
    @classmethod
    def _no_identities(cls, names: list[str]) -> list[str]:
        for name in names:
            if _tells_identity(name):
                raise ValueError(
                    f"{name} reads like an identity, and names, addresses and identifiers never enter a prompt"
                )
        return names


class EngineSettings(Section):
    """The vLLM engine that each worker process keeps."""

    model: str = Field(
        default="bundled",
        description="Checkpoint folder or hub name; 'bundled' is the small model of the set-up.",
    )
    revision: str = Field(default="main", description="Revision of a model from a hub.")
    max_model_len: int = Field(
        default=2048, ge=512, description="Longest prompt and answer together, in tokens."
    )
    max_num_seqs: int = Field(default=64, ge=1, description="Requests that the engine works on at once.")
    max_num_batched_tokens: int = Field(
        default=8192,
        ge=64,
        description="Tokens of one step of the engine, of prompts and answers together; many suit throughput.",
    )
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
    gpus: int = Field(
        default=0,
        ge=0,
        description="GPUs of one engine (its tensor parallelism), taken from Spark's resources; 0 leaves it to vLLM.",
    )


class ServerSettings(Section):
    """A pool of OpenAI-compatible servers, as `vllm serve` starts them."""

    urls: list[str] = Field(
        default_factory=list, description="Base addresses of the servers, such as http://10.0.0.5:8000/v1."
    )
    served_model: str | None = Field(
        default=None, description="Name by which the servers know the model; None is reasoning.engine.model."
    )
    api_key: str | None = Field(
        default=None, description="Key that the servers ask for; write it as ${secret:NAME}."
    )
    concurrency: int = Field(
        default=64, ge=1, description="Requests that one worker has under way at one server."
    )
    timeout_s: float = Field(
        default=120.0, gt=0, description="Longest wait for one answer before another server is asked."
    )
    attempts: int = Field(
        default=6, ge=1, description="How often one request is sent before the run gives up."
    )
    backoff_s: float = Field(
        default=0.5, gt=0, description="First wait before a request is sent again; doubles each time."
    )
    retry_dead_after_s: float = Field(
        default=15.0, gt=0, description="How long a server that failed is left out before it is tried again."
    )


class ReplaySettings(Section):
    """Recorded answers instead of a model."""

    path: str | None = Field(
        default=None, description="JSON lines with fingerprint and text, as `isrf answers` writes them."
    )


class BudgetSettings(Section):
    """What one run may spend on the language model; the next night goes on where it stopped."""

    max_llm_tokens: int | None = Field(
        default=None, ge=0, description="Prompt and output tokens of a run; None is no limit."
    )
    max_llm_calls: int | None = Field(default=None, ge=0, description="Calls of a run; None is no limit.")
    max_wall_minutes: float | None = Field(
        default=None, ge=0, description="Minutes of waves in a run; None is no limit."
    )


class PriceSettings(Section):
    """What the model costs, so that `isrf plan` can name a sum; the currency is yours."""

    gpu_hour: float = Field(default=0.0, ge=0, description="Price of one GPU for one hour.")
    million_tokens_in: float = Field(default=0.0, ge=0, description="Price of a million prompt tokens.")
    million_tokens_out: float = Field(default=0.0, ge=0, description="Price of a million output tokens.")


class ReasoningSettings(Section):
    """The language model's part."""

    backend: Literal["engine", "server", "replay", "none"] = Field(
        default="engine",
        description="engine: vLLM in the workers. server: vLLM servers. replay: recorded answers. "
        "none: no language model; text embeddings of the attributes stand in.",
    )
    mode: Literal["chained", "single", "free"] = Field(
        default="chained",
        description="chained: one call a step as published. single: one guided answer holds all steps. free: the same "
        "for articles without the openings and forms that keep a small model with its question, for large models.",
    )
    workers: int = Field(
        default=1,
        ge=1,
        description="Partitions, so engines or clients of servers, that reason at the same time.",
    )
    wave: int = Field(
        default=512,
        ge=1,
        description="Subjects of one worker that are under way without a commit: what a killed run pays twice at most.",
    )
    language: str | None = Field(
        default="en",
        description="Language of the answers (ISO 639-1); others are dead letters. None accepts any.",
    )
    max_echo: float = Field(
        default=0.8,
        ge=0,
        le=1,
        description="Largest share of an answer that may be copied from the prompt.",
    )
    prometheus_file: str | None = Field(
        default=None,
        description="Text file for a node exporter, renewed after each wave; {subject} in it becomes items or users.",
    )
    engine: EngineSettings = EngineSettings()
    server: ServerSettings = ServerSettings()
    replay: ReplaySettings = ReplaySettings()
    budget: BudgetSettings = BudgetSettings()
    price: PriceSettings = PriceSettings()
    items: ReasoningItems = ReasoningItems()
    users: ReasoningUsers = ReasoningUsers()
    max_failed_share: float = Field(
        default=0.2,
        ge=0,
        le=1,
        description="Above this share of dead letters in a run the run stops with exit code 4.",
    )

    def failed_share(self, subject: Literal["item", "user"]) -> float:
        """Largest share of dead letters among items or among clients."""
        own = (self.items if subject == "item" else self.users).max_failed_share
        return self.max_failed_share if own is None else own

    def served_name(self) -> str:
        """Name by which servers know the model."""
        return self.server.served_model or self.engine.model

    def worker_gpus(self) -> int:
        """GPUs of one worker: those of its engine, none where servers or a recording answer."""
        return self.engine.gpus if self.backend == "engine" else 0


class EmbeddingSettings(Section):
    """The text encoder."""

    model: str = Field(
        default="bundled", description="Encoder folder or hub name; 'bundled' is all-MiniLM-L6-v2."
    )
    runner: Literal["transformers", "vllm"] = Field(
        default="transformers",
        description="transformers: one encoder of one thread a core. vllm: vLLM's pooling mode, for large encoders "
        "and GPUs.",
    )
    pooling: Literal["mean", "cls", "last"] = Field(
        default="mean",
        description="Which of a text's token vectors stand for it; the encoder's model card says.",
    )
    dtype: Literal["auto", "float32", "bfloat16"] = Field(
        default="float32",
        description="Number format of the encoder; auto is bfloat16 where the processor has it (twice as fast, "
        "cosines right to the third digit), else float32, and with vllm the encoder's own.",
    )
    batch_size: int = Field(default=64, ge=1, description="Texts that are encoded together.")
    max_tokens: int = Field(default=64, ge=16, description="Texts are cut to so many tokens.")
    partitions: int | None = Field(
        default=None, ge=1, description="Parallel encoders; None is one a core, with vllm one in all."
    )
    gpus: int = Field(
        default=0,
        ge=0,
        description="GPUs of one vllm encoder, taken from Spark's resources; 0 leaves it to vLLM.",
    )
    cache: bool = Field(
        default=True,
        description="Keep vectors of texts in the lake, so that a night encodes new texts only.",
    )
    leave_out_attributes: list[str] = Field(
        default_factory=list,
        description="Attributes whose values are not embedded where an article has a title, such as copies of it.",
    )
    title_weight: float = Field(
        default=2.0, gt=0, description="Weight of title and description; attributes weigh 1."
    )
    whole_weight: float = Field(
        default=1.0,
        ge=0,
        description="Weight of title and attributes as one text, a further field of the item-item model alone.",
    )
    feature_weight: float = Field(
        default=0.5,
        ge=0,
        description="Weight of the model's words in the sum of all fields; attributes weigh 1. In the item-item model "
        "validation chooses it (interaction_graph.feature_weights); where it chooses 0 they are out of this sum too.",
    )
