"""Settings of campaign audiences; what one campaign asks for stands in its own brief."""

from __future__ import annotations

from typing import Any

from pydantic import Field, field_validator

from isrf_pipeline.config.section import Section


class CampaignSettings(Section):
    """Audiences of campaigns, each asked for in a brief of its own."""

    briefs: list[str] = Field(
        default_factory=list,
        description="Files with one brief each, or folders of them (*.yaml), on the driver's own disk; see "
        "docs/campaigns.md. A brief outside its dates is left alone.",
    )
    theme_items: int = Field(
        default=20,
        ge=1,
        description="Available articles nearest to the words of a theme that stand for it.",
    )

    @field_validator("briefs", mode="before")
    @classmethod
    def _one_is_a_list(cls, briefs: Any) -> Any:
        """Take one path as a list of one."""
        return [briefs] if isinstance(briefs, str) else briefs
