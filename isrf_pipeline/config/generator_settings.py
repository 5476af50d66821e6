"""Settings of the generator: the items' semantic ids, the transformer that writes them, and its search."""

from __future__ import annotations

from pydantic import Field, model_validator

from isrf_pipeline.config.section import Section


class GeneratorSettings(Section):
    """The transformer that writes the semantic id of the next item."""

    levels: int = Field(
        default=3, ge=1, description="Codes of a semantic id, before the one that makes it unique."
    )
    codes: int = Field(default=64, ge=2, description="Codes of each level.")
    slack: float = Field(
        default=1.5,
        ge=1,
        description="How many times its fair share of the items with the same codes before it a code may take.",
    )
    behaviour_width: int = Field(
        default=64, ge=1, description="Dimensions of what semantic ids know of clients' behaviour."
    )
    behaviour_weight: float = Field(
        default=1.0, ge=0, description="Weight of behaviour against meaning in semantic ids."
    )
    width: int = Field(default=128, ge=8, description="Width of the transformer.")
    layers: int = Field(default=2, ge=1, description="Layers of the transformer.")
    heads: int = Field(default=4, ge=1, description="Heads of its attention.")
    steps: int = Field(default=20, ge=1, description="Newest items of a history that are read.")
    decay: float = Field(
        default=0.75,
        gt=0,
        le=1,
        description="Weight of one more step back in explicit and implicit interest.",
    )
    epochs: int = Field(
        default=12, ge=1, description="Passes over what precedes each client's last training event."
    )
    further_epochs: int = Field(
        default=4, ge=1, description="Passes over all training events that follow them."
    )
    batch: int = Field(default=128, ge=1, description="Histories of one step of training.")
    dropout: float = Field(
        default=0.2, ge=0, lt=1, description="Share of the network that a step leaves out."
    )
    temperature: float = Field(
        default=0.07, gt=0, description="Cosines are divided by it; smaller tells codes apart more sharply."
    )
    label_smoothing: float = Field(
        default=0.0, ge=0, lt=1, description="Share of certainty that training gives to the other codes."
    )
    learning_rate: float = Field(default=2e-3, gt=0, description="Largest step of training.")
    weight_decay: float = Field(default=0.01, ge=0, description="Pull of the weights towards 0.")
    beam: int = Field(default=50, ge=1, description="Codes that the search follows at each level.")
    device: str = Field(
        default="auto", description="Where it is trained and searched: auto, cpu, cuda or cuda:1."
    )
    max_clients: int = Field(
        default=1_000_000,
        ge=1,
        description="It learns from at most so many clients, drawn by a hash of their identifier.",
    )
    seed: int = Field(default=0, description="Seed of semantic ids and of training.")

    @model_validator(mode="after")
    def _whole_heads(self) -> GeneratorSettings:
        if self.width % self.heads:
            raise ValueError(f"width ({self.width}) must be a multiple of heads ({self.heads})")
        return self
