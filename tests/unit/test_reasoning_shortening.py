from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from isrf_pipeline.reasoning.shortening import shortened

ITEM = {
    "title": "Scarf",
    "description": "d" * 300,
    "attributes": {"colour": "red", "story": "s" * 200, "house": "Aurelle"},
}


def test_the_description_goes_first_down_to_its_beginning() -> None:
    assert shortened(ITEM, 20) == ITEM | {"description": "d" * 240}
    assert shortened(ITEM, 5000) == ITEM | {"description": "d" * 40}


def test_then_the_longest_attributes_go() -> None:
    item = ITEM | {"description": "d" * 40}
    assert shortened(item, 1) == item | {"attributes": {"colour": "red", "house": "Aurelle"}}


def test_nothing_is_left_to_shorten() -> None:
    assert shortened({"title": "Scarf", "description": None, "attributes": {}}, 1) is None


def test_a_client_loses_the_oldest_choices_and_keeps_the_newest() -> None:
    history = [{"when": "newest", "event": "view", "text": "x" * 30} for _ in range(4)]
    assert shortened({"history": history, "attributes": {}}, 15) == {"history": history[:2], "attributes": {}}
    assert shortened({"history": history[:1], "attributes": {}}, 15) is None


@given(
    st.fixed_dictionaries(
        {
            "title": st.text(max_size=200),
            "description": st.none() | st.text(max_size=400),
            "attributes": st.dictionaries(st.text(max_size=5), st.text(max_size=60), max_size=6),
        }
    ),
    st.integers(1, 200),
)
def test_shortening_always_ends_and_never_adds(values: dict[str, Any], excess: int) -> None:
    size = _size(values)
    while (shorter := shortened(values, excess)) is not None:
        assert _size(shorter) < size
        values, size = shorter, _size(shorter)
    assert len(values["title"]) <= 40


def _size(values: dict[str, Any]) -> int:
    parts = [
        values["title"],
        values["description"] or "",
        *values["attributes"].keys(),
        *values["attributes"].values(),
    ]
    return sum(len(part) for part in parts) + len(values["attributes"])
