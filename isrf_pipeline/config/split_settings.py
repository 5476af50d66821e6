"""Settings of the split into events that are fitted on and events that are held out."""

from __future__ import annotations

import datetime
from typing import Literal, Self

from pydantic import Field, field_validator, model_validator

from isrf_pipeline.config.section import Section


class SplitSettings(Section):
    """Which events are fitted on and which are kept for measuring."""

    policy: Literal["leave_one_out", "temporal", "none"] = Field(
        default="leave_one_out",
        description="leave_one_out: each client's last event is test, the one before validation. temporal: train "
        "before a day, validate and test in the windows after it. none: fit on all.",
    )
    min_train_events: int = Field(
        default=1,
        ge=1,
        description="leave_one_out: clients with fewer training events left are not split.",
    )
    validation_from: str | None = Field(
        default=None,
        description="temporal: first day of the validation window, YYYY-MM-DD; with test_from, in place of shares.",
    )
    test_from: str | None = Field(default=None, description="temporal: first day of the test window.")
    validation_share: float = Field(
        default=0.1,
        gt=0,
        lt=0.5,
        description="temporal: share of the events that the validation window has, by whole days.",
    )
    test_share: float = Field(
        default=0.1, gt=0, lt=0.5, description="temporal: share of the events that the test window has."
    )
    unseen_clients: float = Field(
        default=0.0,
        ge=0,
        lt=1,
        description="Share of clients of whom nothing is fitted on: their history is known only when lists are made.",
    )

    @field_validator("validation_from", "test_from")
    @classmethod
    def _is_a_day(cls, text: str | None) -> str | None:
        try:
            return None if text is None else datetime.date.fromisoformat(text).isoformat()
        except ValueError:
            raise ValueError("must be a day as YYYY-MM-DD") from None

    @model_validator(mode="after")
    def _windows_in_order(self) -> Self:
        if (self.validation_from is None) != (self.test_from is None):
            raise ValueError("validation_from and test_from must be given together")
        if self.validation_from and self.test_from and self.validation_from >= self.test_from:
            raise ValueError("validation_from must be before test_from")
        if self.policy == "none" and self.unseen_clients:
            raise ValueError("unseen_clients needs a policy that holds events out")
        return self
