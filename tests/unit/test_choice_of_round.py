"""Which round of the optimization is delivered."""

from __future__ import annotations

import numpy as np
import pytest

from isrf_pipeline.alignment.model import ProfileMap
from isrf_pipeline.config import Settings
from isrf_pipeline.interests.aligning import group_options, try_alignment
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


def test_a_round_that_is_named_is_delivered_and_the_last_that_is_run() -> None:
    named = Settings.model_validate({"lake": {"root": "lake"}, "optimize": {"round": 1, "patience": 1}})
    results = [(value, place, WEIGHTS) for place, value in enumerate([0.09, 0.08])]
    assert not out_of_patience(results[:1], named) and out_of_patience(results, named)
    assert choose(results, named)[:2] == (0.08, 1)
    with pytest.raises(ValueError, match="must not lie behind"):
        Settings.model_validate({"lake": {"root": "lake"}, "optimize": {"round": 3}})


def test_scorers_that_take_no_part_have_no_weight() -> None:
    def weights(*scorers: str) -> list[FusionWeights]:
        return fusion_options(
            Settings.model_validate({"lake": {"root": "lake"}, "optimize": {"scorers": list(scorers)}})
        )

    assert all(w.implicit == w.feedback == 0 for w in weights("followed", "semantic", "sequence"))
    assert all(w.followed == w.semantic == 0 for w in weights("sequence", "group"))
    assert {w.sequence for w in weights("followed")} == {0.0}
    assert max(w.implicit for w in weights("followed", "group")) > 0
    assert {w.decay for w in weights("followed")} == {0.6, 0.7, 0.8}
    assert len({w.decay for w in weights("sequence", "group")}) == 1


@pytest.mark.parametrize("decays", [[], [0.0], [0.6, 1.0]])
def test_a_decay_fades_but_not_at_once(decays: list[float]) -> None:
    with pytest.raises(ValueError, match="history_decays"):
        Settings.model_validate({"lake": {"root": "lake"}, "optimize": {"history_decays": decays}})


def test_a_map_is_kept_only_where_validation_is_better_with_it() -> None:
    alignment = ProfileMap(np.zeros((2, 1), np.float32), np.zeros((1, 2), np.float32))

    def kept(with_map: list[float], without: list[float]) -> bool:
        def measure(tried: ProfileMap | None) -> list[float]:
            return with_map if tried is not None else without

        return try_alignment(measure, alignment, settings(0.01)).kept

    assert kept([0.1, 0.21], [0.2, 0.0]) and not kept([0.1, 0.19], [0.2, 0.0])
    assert not kept([0.2], [0.2])


def test_a_map_is_judged_by_weights_of_the_group() -> None:
    options = fusion_options(settings(0.01))
    best = FusionWeights(semantic=0.1, implicit=0.0, feedback=0.0, sequence=0.7)
    judged = group_options(options, best)
    assert all(w.implicit or w.feedback for w in judged)
    assert {(w.semantic, w.sequence, w.followed) for w in judged} == {(0.1, 0.7, 1.0)}
    # Four weights of the group with feedback and without, but for the pair in which there is neither.
    assert len(judged) == 7
