"""What a gate says of its value, and the index behind two of them."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isrf_pipeline.gates.drift import SMALLEST_SHARE, population_stability
from isrf_pipeline.gates.result import GateResult

COUNTS = st.dictionaries(st.integers(0, 9), st.integers(1, 1000), min_size=1)


def gate(value: float | None, limit: float, at_least: bool) -> GateResult:
    return GateResult("item_drift", value, limit, at_least, "gates.max_item_drift", "against one night")


@pytest.mark.parametrize(
    ("value", "at_least", "passed"),
    [(0.9, True, True), (0.5, True, True), (0.4, True, False), (0.4, False, True), (0.6, False, False)],
)
def test_a_limit_is_kept_up_to_the_limit_itself(value: float, at_least: bool, passed: bool) -> None:
    assert gate(value, 0.5, at_least).passed is passed


def test_what_was_not_measured_neither_passes_nor_fails() -> None:
    assert gate(None, 0.5, True).passed is None


def test_a_complaint_names_gate_amount_limit_and_setting() -> None:
    assert gate(0.61234, 0.25, False).complaint() == (
        "item_drift is 0.6123, above the most allowed 0.25 (against one night; gates.max_item_drift)"
    )


def test_index_by_hand() -> None:
    # Shares .5 and .5 became .25 and .75: -.25 ln(1/2) + .25 ln(3/2).
    expected = 0.25 * math.log(2) + 0.25 * math.log(1.5)
    assert population_stability({"a": 10, "b": 10}, {"a": 5, "b": 15}) == pytest.approx(expected)


def test_an_empty_group_counts_as_the_smallest_share() -> None:
    s = SMALLEST_SHARE
    expected = (0.5 - 1) * math.log(0.5 / 1) + (0.5 - s) * math.log(0.5 / s)
    assert population_stability({"a": 4}, {"a": 2, "new": 2}) == pytest.approx(expected)


@given(COUNTS, COUNTS)
def test_index_is_symmetric_and_never_negative(one: dict[int, int], other: dict[int, int]) -> None:
    index = population_stability(one, other)
    assert index >= 0
    assert index == pytest.approx(population_stability(other, one))


@given(COUNTS, st.integers(1, 50))
def test_index_sees_shares_not_sizes(counts: dict[int, int], times: int) -> None:
    larger = {group: rows * times for group, rows in counts.items()}
    assert population_stability(counts, larger) == pytest.approx(0, abs=1e-12)
