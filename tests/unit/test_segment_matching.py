"""Which of yesterday's segments tonight's communities continue."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isrf_pipeline.graphs.segment_matching import Continuation, continued_segments


def test_by_hand() -> None:
    found = continued_segments(
        {"aaaaaaaa1": 10, "bbbbbbbb1": 10, "cccccccc1": 4},
        {"s1": 10, "s2": 20, "s3": 5},
        # a shares 8 of 12 with s1 and 9 of 21 with s2; b shares 10 of 20 with s2; c too little with s3.
        [("aaaaaaaa1", "s1", 8), ("aaaaaaaa1", "s2", 9), ("bbbbbbbb1", "s2", 10), ("cccccccc1", "s3", 1)],
        0.3,
    )
    assert found == {
        "aaaaaaaa1": Continuation("s1", "kept", 10, 10, 8),
        "bbbbbbbb1": Continuation("s2", "kept", 10, 20, 10),
        "cccccccc1": Continuation("scccccccc", "born", 4, 0, 0),
        "s3": Continuation("s3", "died", 0, 5, 0),
    }
    assert found["aaaaaaaa1"].similarity == pytest.approx(8 / 12)
    assert found["s3"].similarity == 0


def test_a_segment_that_splits_lives_on_in_its_larger_part() -> None:
    found = continued_segments({"a": 6, "b": 4}, {"s1": 10}, [("a", "s1", 6), ("b", "s1", 4)], 0.3)
    assert (found["a"].segment_id, found["a"].change, found["b"].change) == ("s1", "kept", "born")


def test_the_name_of_the_dead_is_not_given_again() -> None:
    found = continued_segments({"12345678ab": 5}, {"s12345678": 5}, [], 0.3)
    assert found["12345678ab"].segment_id == "s12345678a"
    assert found["s12345678"].change == "died"


@given(
    st.dictionaries(st.text("0123456789abcdef", min_size=10, max_size=10), st.integers(1, 50), max_size=8),
    st.dictionaries(st.text("st", min_size=1, max_size=4), st.integers(1, 50), max_size=8),
    st.data(),
)
def test_every_community_has_one_name_and_every_segment_one_fate(
    communities: dict[str, int], before: dict[str, int], data: st.DataObject
) -> None:
    pairs = [(community, segment) for community in communities for segment in before]
    drawn = data.draw(st.lists(st.sampled_from(pairs), unique=True)) if pairs else []
    shared = [
        (community, segment, data.draw(st.integers(1, min(communities[community], before[segment]))))
        for community, segment in drawn
    ]
    found = continued_segments(communities, before, shared, 0.3)
    names = [found[community].segment_id for community in communities]
    assert len(set(names)) == len(names)
    kept = {one.segment_id for one in found.values() if one.change == "kept"}
    died = {one.segment_id for one in found.values() if one.change == "died"}
    assert kept | died == set(before)
    assert not kept & died
    assert continued_segments(communities, before, shared[::-1], 0.3) == found
