"""What all settings have in common."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Section(BaseModel):
    """Base of all settings: unknown keys are refused and values do not change after validation."""

    model_config = ConfigDict(extra="forbid", frozen=True)
