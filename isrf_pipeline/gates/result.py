"""One gate's value beside its limit."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class GateResult:
    """What one gate found.

    Attributes
    ----------
    gate
        Its name.
    value
        What was measured; None where nothing could be.
    limit
        From the settings.
    at_least
        Whether the limit is the least that must be reached, or else the most that is allowed.
    setting
        Key of the limit.
    detail
        What was measured on what, for people.
    """

    gate: str
    value: float | None
    limit: float
    at_least: bool
    setting: str
    detail: str

    @property
    def passed(self) -> bool | None:
        """Whether the limit is kept; None where nothing was measured."""
        if self.value is None:
            return None
        return self.value >= self.limit if self.at_least else self.value <= self.limit

    def complaint(self) -> str:
        """One clause that says by how much the limit is missed."""
        assert self.value is not None
        side = "below the least allowed" if self.at_least else "above the most allowed"
        return f"{self.gate} is {self.value:.4g}, {side} {self.limit:.4g} ({self.detail}; {self.setting})"
