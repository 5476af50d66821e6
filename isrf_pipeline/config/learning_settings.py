"""Settings of what is learned from clients' histories: the sequence model, the alignment and the ranker."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from isrf_pipeline.config.section import Section


class SequenceSettings(Section):
    """The recurrent network that tells what comes next."""

    width: int = Field(default=96, ge=8, description="Width of item vectors and of the state.")
    steps: int = Field(default=20, ge=1, description="Newest items of a history that are read.")
    epochs: int = Field(
        default=18, ge=1, description="Passes over what precedes each client's last training event."
    )
    further_epochs: int = Field(
        default=6, ge=1, description="Passes over all training events that follow them."
    )
    batch: int = Field(default=128, ge=1, description="Histories of one step of training.")
    negatives: int = Field(default=1024, ge=1, description="Items that the true one is told from in a step.")
    dropout: float = Field(
        default=0.2, ge=0, lt=1, description="Share of the network that a step leaves out."
    )
    temperature: float = Field(
        default=0.07, gt=0, description="Cosines are divided by it; smaller tells items apart more sharply."
    )
    learning_rate: float = Field(default=2e-3, gt=0, description="Largest step of training.")
    weight_decay: float = Field(default=0.01, ge=0, description="Pull of the weights towards 0.")
    max_clients: int = Field(
        default=1_000_000,
        ge=1,
        description="It learns from at most so many clients, drawn by a hash of their identifier.",
    )
    seed: int = Field(default=0, description="Seed of training.")


class AlignmentSettings(Section):
    """Contrastive alignment: the map that brings profiles together where explicit interests are alike."""

    enabled: bool = Field(
        default=True,
        description="Whether it is trained; profiles are mapped only where validation is better with it.",
    )
    clients: int = Field(
        default=16_384,
        ge=2,
        description="It learns from at most so many clients, drawn by a hash of their identifier.",
    )
    rank: int = Field(default=64, ge=1, description="Rank of what the map adds to a profile.")
    batch: int = Field(default=512, ge=2, description="Clients told from each other in a step of training.")
    epochs: int = Field(default=4, ge=1, description="Passes over the clients in each round.")
    temperature: float = Field(
        default=0.07, gt=0, description="Cosines are divided by it; smaller looks at the most similar only."
    )
    learning_rate: float = Field(default=2e-3, gt=0, description="Step of training.")
    weight_decay: float = Field(default=0.01, ge=0, description="Pull of the map towards the identity.")
    min_gain: float = Field(
        default=0.0,
        ge=-1,
        description="Profiles are mapped only if validation NDCG@10 is better by this share than without; -1: always.",
    )
    processes: int = Field(
        default=1,
        ge=1,
        description="Above 1 it is trained in so many processes through Spark's TorchDistributor.",
    )
    seed: int = Field(default=0, description="Seed of training.")


class RankerSettings(Section):
    """The learned ranker over the candidates of all scorers."""

    enabled: bool = Field(
        default=True, description="Whether it is trained; it ranks only where validation is better with it."
    )
    labels: Literal["training", "validation"] = Field(
        default="training",
        description="What it learns to foresee: each client's last training event, or the validation event of the "
        "optimize.validation_clients. The latter is for measurements: it ranks whatever validation says, and no figure "
        "of it is one of training events alone.",
    )
    clients: int = Field(
        default=30_000,
        ge=100,
        description="It learns from the last training event of at most so many clients, drawn by a hash.",
    )
    by_fusion: int = Field(
        default=120, ge=1, description="Candidates: so many strongest items of the fixed fusion."
    )
    by_scorer: int = Field(
        default=30, ge=0, description="Candidates: so many strongest items of each scorer."
    )
    trees: int = Field(default=150, ge=1, description="Trees.")
    leaves: int = Field(default=15, ge=2, description="Leaves of a tree.")
    min_leaf: int = Field(default=100, ge=1, description="Candidates in a leaf, at least.")
    learning_rate: float = Field(default=0.06, gt=0, description="Weight of each tree.")
    feature_fraction: float = Field(
        default=0.5, gt=0, le=1, description="Share of the features that a tree may use."
    )
    l2: float = Field(default=10.0, ge=0, description="Pull of the leaves' values towards 0.")
    truncation: int = Field(
        default=30, ge=1, description="Places at the top of a list whose order the trees learn."
    )
    min_gain: float = Field(
        default=0.0,
        ge=0,
        description="It ranks only if validation NDCG@10 is better by this share than with the fixed fusion.",
    )
    min_standard_errors: float = Field(
        default=1.0,
        ge=0,
        description="And only if it is better by more than so many standard errors of that gain: a ranker of which "
        "validation cannot tell the gain is no reason to give up what can be explained edge by edge.",
    )
    seed: int = Field(default=0, description="Seed of training.")
