"""Which round of the optimization is delivered."""

from __future__ import annotations

from isrf_pipeline.config import Settings
from isrf_pipeline.interests.propagation import FusionWeights
from isrf_pipeline.interests.selection import choose, fusion_options, out_of_patience

WEIGHTS = FusionWeights(0.0, 0.2, 0.0)


def settings(gain: float, patience: int = 2) -> Settings:
    optimize = {"min_round_gain": gain, "patience": patience}
    return Settings.model_validate({"lake": {"root": "lake"}, "optimize": optimize})


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


def test_rounds_end_when_so_many_in_a_row_brought_no_gain() -> None:
    def ends(values: list[float], patience: int) -> bool:
        results = [(value, place, WEIGHTS) for place, value in enumerate(values)]
        return out_of_patience(results, settings(0.01, patience))

    assert not ends([], 1) and not ends([0.0850], 1)
    assert ends([0.0850, 0.0855], 1) and not ends([0.0850, 0.0855], 2)
    assert not ends([0.0850, 0.0870], 1)
    assert ends([0.0850, 0.0870, 0.0871, 0.0872], 2) and not ends([0.0850, 0.0870, 0.0871, 0.0880], 2)


def test_scorers_that_take_no_part_have_no_weight() -> None:
    def weights(*scorers: str) -> list[FusionWeights]:
        return fusion_options(
            Settings.model_validate({"lake": {"root": "lake"}, "optimize": {"scorers": list(scorers)}})
        )

    assert all(w.implicit == w.feedback == 0 for w in weights("followed", "semantic", "sequence"))
    assert all(w.followed == w.semantic == 0 for w in weights("sequence", "group"))
    assert {w.sequence for w in weights("followed")} == {0.0}
    assert max(w.implicit for w in weights("followed", "group")) > 0
