"""Settings of the peers that a benchmark measures beside the recommendations.

Defaults of bm25, ease and sasrec were chosen on Beauty's validation events; docs/architecture.md has the figures.
"""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator

from isrf_pipeline.config.section import Section


class MllibAlsSettings(Section):
    """Spark MLlib's implicit ALS."""

    rank: int = Field(default=64, ge=1, description="Factors of the peer mllib_als.")
    iterations: int = Field(default=10, ge=1, description="Iterations of the peer mllib_als.")
    alpha: float = Field(default=20.0, ge=0, description="Confidence weight of the peer mllib_als.")
    regularization: float = Field(default=0.05, ge=0, description="Regularization of the peer mllib_als.")


class Bm25Settings(Section):
    """Item neighbours of the package implicit."""

    neighbours: int = Field(
        default=100, ge=1, description="Neighbours of an item in the peer bm25, itself among them."
    )
    k1: float = Field(default=1.2, ge=0, description="How slowly repetition saturates in the peer bm25.")
    b: float = Field(
        default=0.2, ge=0, le=1, description="How strongly popular items are damped in the peer bm25."
    )


class ImplicitAlsSettings(Section):
    """ALS of the package implicit."""

    factors: int = Field(default=64, ge=1, description="Factors of the peer implicit_als.")
    iterations: int = Field(default=15, ge=1, description="Iterations of the peer implicit_als.")
    alpha: float = Field(default=20.0, ge=0, description="Confidence weight of the peer implicit_als.")
    regularization: float = Field(default=0.05, ge=0, description="Regularization of the peer implicit_als.")
    seed: int = Field(default=0, description="Seed of the first factors of the peer implicit_als.")


class EaseSettings(Section):
    """The closed form of Steck (2019)."""

    ridge: float = Field(default=50.0, gt=0, description="Ridge of the peer ease.")
    max_items: int = Field(
        default=25_000,
        ge=1,
        description="The peer ease refuses more items in training: it holds two dense matrices of items by items.",
    )


class SasRecSettings(Section):
    """Self-attention over the order of events, with a sampled softmax."""

    width: int = Field(default=128, ge=8, description="Width of item vectors and states of the peer sasrec.")
    layers: int = Field(default=2, ge=1, description="Blocks of attention of the peer sasrec.")
    heads: int = Field(
        default=2, ge=1, description="Heads of attention of the peer sasrec; they divide the width."
    )
    steps: int = Field(default=50, ge=1, description="Newest items of a history that the peer sasrec reads.")
    epochs: int = Field(
        default=15, ge=1, description="Passes of the peer sasrec over the training histories."
    )
    batch: int = Field(default=256, ge=1, description="Histories of one step of training of the peer sasrec.")
    negatives: int = Field(
        default=1024, ge=1, description="Items that the peer sasrec tells the true one from in a step."
    )
    dropout: float = Field(
        default=0.5, ge=0, lt=1, description="Share of the network that a step of the peer sasrec leaves out."
    )
    temperature: float = Field(
        default=0.07, gt=0, description="Cosines of the peer sasrec are divided by it."
    )
    learning_rate: float = Field(
        default=3e-3, gt=0, description="Largest step of training of the peer sasrec."
    )
    weight_decay: float = Field(
        default=0.01, ge=0, description="Pull of the weights of the peer sasrec towards 0."
    )
    seed: int = Field(default=0, description="Seed of training of the peer sasrec.")

    @model_validator(mode="after")
    def _heads_divide_the_width(self) -> Self:
        if self.width % self.heads:
            raise ValueError(f"heads ({self.heads}) must divide width ({self.width})")
        return self
