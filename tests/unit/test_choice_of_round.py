"""Which round of the optimization is delivered."""

from __future__ import annotations

from isrf_pipeline.config import Settings
from isrf_pipeline.interests.propagation import FusionWeights
from isrf_pipeline.stages.optimize import choose

WEIGHTS = FusionWeights(0.0, 0.2, 0.0)


def settings(gain: float) -> Settings:
    return Settings.model_validate({"lake": {"root": "lake"}, "optimize": {"min_round_gain": gain}})


def chosen_round(values: list[float], gain: float = 0.01) -> int:
    return choose([(value, place, WEIGHTS) for place, value in enumerate(values)], settings(gain))[1]


def test_a_round_must_earn_its_costs() -> None:
    assert chosen_round([0.0850, 0.0855, 0.0854]) == 0
    assert chosen_round([0.0850, 0.0870, 0.0871]) == 1
    # Each step is too small, both together are not.
    assert chosen_round([0.0850, 0.0857, 0.0865]) == 2


def test_any_gain_counts_where_none_is_asked_for() -> None:
    assert chosen_round([0.0850, 0.0855, 0.0855], gain=0.0) == 1


def test_without_validation_events_the_last_round_is_taken() -> None:
    value, round_, _ = choose([], settings(0.01))
    assert (value, round_) == (0.0, settings(0.01).optimize.rounds)
