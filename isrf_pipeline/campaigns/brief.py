"""What a campaign manager asks for: the fields of a brief and their rules."""

from __future__ import annotations

import datetime
import hashlib
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from isrf_pipeline.config.section import Section

TargetKind = Literal["items", "theme", "segment"]


def _is_text(value: Any) -> Any:
    if isinstance(value, int | float):
        raise ValueError(f"identifiers are text: write '{value}' in quotes")
    return value


#: YAML makes numbers of digits, and 007 would come out as 7.
Identifier = Annotated[str, BeforeValidator(_is_text), Field(min_length=1, max_length=500)]
CampaignId = Annotated[str, BeforeValidator(_is_text), Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$")]


class Target(Section):
    """What the campaign is about; exactly one of the three."""

    items: list[Identifier] | None = Field(
        default=None, min_length=1, description="Articles, by identifier; they need not be on sale yet."
    )
    theme: str | None = Field(
        default=None,
        min_length=1,
        max_length=500,
        description="A theme in words; the articles nearest to it stand for it.",
    )
    segment: Identifier | None = Field(
        default=None, description="A segment of the night, by identifier or by name."
    )

    @model_validator(mode="after")
    def _exactly_one(self) -> Self:
        named = [name for name in ("items", "theme", "segment") if getattr(self, name) is not None]
        if len(named) != 1:
            found = f"found {' and '.join(named)}" if named else "found none"
            raise ValueError(f"name exactly one of items, theme and segment ({found})")
        if self.theme is not None and not self.theme.strip():
            raise ValueError("theme must have words")
        return self

    @property
    def kind(self) -> TargetKind:
        """Which of the three it is."""
        if self.items is not None:
            return "items"
        return "theme" if self.theme is not None else "segment"


class EarlierCampaigns(Section):
    """Clients who have been in audiences of earlier nights, holdouts included."""

    ids: list[CampaignId] = Field(
        default_factory=list,
        description="Campaigns that count; this one may be among them. Empty: all others, hero items apart.",
    )
    within_days: int | None = Field(
        default=None,
        ge=1,
        description="Only audiences of so many days before the night count; empty: all that the lake holds.",
    )


class Exclusions(Section):
    """Clients who are left out."""

    earlier_campaigns: EarlierCampaigns | None = Field(
        default=None, description="Clients of earlier campaigns; without it they take part."
    )
    buyers: bool = Field(
        default=False,
        description="Leave out whoever has bought any article of the target (event types of "
        "recommend.exclude_seen).",
    )
    clients_file: str | None = Field(
        default=None,
        min_length=1,
        description="Text file with one client's identifier a line; relative to the brief's folder, or an "
        "address that Spark can read.",
    )
    segments: list[Identifier] = Field(
        default_factory=list, description="Segments whose members are left out, by identifier or by name."
    )


class Brief(Section):
    """One campaign."""

    id: CampaignId = Field(
        description="Name in tables and files: small letters, digits, dots, dashes and underscores."
    )
    name: str = Field(min_length=1, max_length=200, description="Name for people.")
    target: Target = Field(description="What the campaign is about.")
    judged_by: Literal["all", "best"] = Field(
        default="all",
        description="A client's fit is the mean over all articles of the target, or that of the best one.",
    )
    size: int = Field(ge=1, description="At most so many clients, the holdout among them.")
    require_consent: bool = Field(default=True, description="Only clients with marketing consent.")
    exclude: Exclusions = Exclusions()
    min_score: float = Field(default=0.0, ge=0, le=1, description="Least fit of a client.")
    holdout_share: float = Field(
        default=0.0,
        ge=0,
        lt=1,
        description="Share of the audience that is not contacted, to measure the campaign against.",
    )
    valid_from: datetime.date | None = Field(default=None, description="First night of the campaign.")
    valid_until: datetime.date | None = Field(default=None, description="Last night of the campaign.")

    @model_validator(mode="after")
    def _rules_between_fields(self) -> Self:
        if self.valid_from and self.valid_until and self.valid_from > self.valid_until:
            raise ValueError(
                f"valid_from ({self.valid_from}) must not lie after valid_until ({self.valid_until})"
            )
        if self.exclude.buyers and self.target.kind == "segment":
            raise ValueError(
                "exclude.buyers needs articles in the target, and a segment has none: take buyers out"
            )
        if self.judged_by == "best" and self.target.kind == "segment":
            raise ValueError("judged_by needs articles in the target, and a segment has none: take it out")
        return self

    def runs_on(self, night: datetime.date) -> bool:
        """Whether ``night`` lies within the campaign's dates."""
        return not (
            (self.valid_from is not None and night < self.valid_from)
            or (self.valid_until is not None and night > self.valid_until)
        )

    def fingerprint(self) -> str:
        """First 16 hexadecimal digits of the SHA-256 of the brief: another one is another request."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()[:16]
