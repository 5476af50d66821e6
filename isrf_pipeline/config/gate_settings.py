"""Settings of the quality gates: what a night must keep before anybody sees it."""

from __future__ import annotations

from pydantic import Field

from isrf_pipeline.config.section import Section


class GateSettings(Section):
    """Limits between a night and its publication; a gate whose limit is empty does not judge."""

    min_client_coverage: float = Field(
        default=0.9, ge=0, le=1, description="Share of clients that must get a list."
    )
    max_data_age_days: float | None = Field(
        default=None,
        ge=0,
        description="Days between the newest event and the end of the night, at most: older sources have stopped to "
        "arrive.",
    )
    max_dead_letter_share: float | None = Field(
        default=None,
        ge=0,
        le=1,
        description="Share of dead letters among the answers that the run got, at most, items and clients together; "
        "each by itself has reasoning.max_failed_share, which stops the run earlier.",
    )
    reference_nights: int = Field(
        default=7, ge=1, description="The night is compared with so many published nights before it."
    )
    max_score_drift: float | None = Field(
        default=0.25,
        gt=0,
        description="Population stability index of the scores against those nights, at most.",
    )
    max_item_drift: float | None = Field(
        default=0.25,
        gt=0,
        description="Population stability index of the recommended items against those nights, at most: items in ten "
        "groups of equal exposure, and those that were in no list.",
    )
    min_recent_accuracy: float | None = Field(
        default=0.5,
        ge=0,
        description="Share of clients whose new choice was in their list of the last published night, over the mean of "
        "the same figure in the nights before, at least.",
    )
    min_recent_clients: int = Field(
        default=200,
        ge=1,
        description="Recent accuracy judges only where at least so many clients have chosen something new.",
    )
