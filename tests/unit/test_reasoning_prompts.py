from __future__ import annotations

from pathlib import Path

import pytest
from jinja2 import UndefinedError

from isrf_pipeline.reasoning.answers import parse_answer
from isrf_pipeline.reasoning.prompts import PROMPT_VERSION, render_prompt
from isrf_pipeline.reasoning.steps import Mode, Subject, chain_of

ITEM = {
    "title": "Silk Scarf",
    "brand": "Maison Aurelle",
    "categories": "Accessories > Scarves",
    "price": "200 to 500",
    "description": "Hand-rolled edges.",
    "attributes": {"season": "spring", "colour": "ivory"},
}
USER = {
    "attributes": {"country": "France"},
    "history": [{"when": "newest", "event": "purchase", "text": "Silk scarf for travellers"}],
}
ANSWERS = {"who_for": "a", "who_not_for": "b", "likes": "c", "avoids": "d"}


@pytest.mark.parametrize("mode", ["chained", "single", "free"])
@pytest.mark.parametrize(("subject", "values"), [("item", ITEM), ("user", USER)])
def test_every_step_has_a_prompt_whose_fixed_part_takes_no_variables(
    subject: Subject, mode: Mode, values: dict[str, object]
) -> None:
    for step in chain_of(subject, mode):
        first = render_prompt(step.template, values | ANSWERS)
        assert first.system.startswith("You")
        for name in step.answer.model_fields:
            assert f"{name}:" in first.system, "the instructions must explain every field"
        # The example is itself an answer that the schema allows.
        assert all(isinstance(parse_answer(step.answer, answer), dict) for _, answer in first.examples)
        turns = ["user", "assistant"] * len(first.examples)
        assert [message["role"] for message in first.messages()] == ["system", *turns, "user"]


def test_missing_variable_is_an_error() -> None:
    lacking = {name: value for name, value in ITEM.items() if name != "price"}
    with pytest.raises(UndefinedError, match="price"):
        render_prompt("item_forward.j2", lacking)


def test_a_later_step_reads_the_earlier_answers() -> None:
    with pytest.raises(UndefinedError, match="who_for"):
        render_prompt("item_backward.j2", ITEM)
    assert (
        "Who would enjoy it: Collectors"
        in render_prompt("item_backward.j2", ITEM | {"who_for": "Collectors"}).user
    )


def test_text_of_the_catalogue_is_data_and_never_template() -> None:
    hostile = ITEM | {"title": "{{ 7 * 7 }} {% for x in y %} {{ ''.__class__ }}"}
    assert "{{ 7 * 7 }} {% for x in y %} {{ ''.__class__ }}" in render_prompt("item_single.j2", hostile).user


def test_attributes_are_sorted_and_absent_ones_leave_no_line() -> None:
    user = render_prompt("item_single.j2", ITEM | {"brand": None, "description": ""}).user
    assert user.splitlines() == [
        "Title: Silk Scarf",
        "Categories: Accessories > Scarves",
        "Price: 200 to 500",
        "Colour: ivory",
        "Season: spring",
    ]


def test_prompt_files_are_shipped_with_the_package() -> None:
    import isrf_pipeline.reasoning as package

    files = {path.name for path in (Path(package.__file__).parent / "prompts" / PROMPT_VERSION).glob("*.j2")}
    steps = [*chain_of("item", "chained"), *chain_of("user", "chained")]
    steps += [*chain_of("item", "single"), *chain_of("user", "single"), *chain_of("item", "free")]
    assert files == {step.template for step in steps} | {"repair.j2"}
