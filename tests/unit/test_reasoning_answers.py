from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from isrf_pipeline.reasoning.answers import FEATURE_WORDS, INTEREST_WORDS, guiding_schema, parse_answer
from isrf_pipeline.reasoning.steps import Mode, Step, Subject, chain_of

STEPS = [step for s in ("item", "user") for m in ("chained", "single") for step in chain_of(s, m)]  # type: ignore[arg-type]


def nodes(schema: Any) -> Iterator[dict[str, Any]]:
    if isinstance(schema, dict):
        yield schema
        for value in schema.values():
            yield from nodes(value)


@pytest.mark.parametrize("step", STEPS, ids=lambda step: step.kind)
def test_every_string_and_array_of_a_schema_is_bounded(step: Step) -> None:
    schema = guiding_schema(step.answer)
    assert schema["additionalProperties"] is False
    assert schema["required"] == list(step.answer.model_fields)
    for node in nodes(schema["properties"]):
        if node.get("type") == "string":
            assert "}$" in node["pattern"] and node["pattern"].startswith("^")
        if node.get("type") == "array":
            assert node["maxItems"] == 5 and node["minItems"] == 3


@pytest.mark.parametrize("subject", ["item", "user"])
def test_single_mode_asks_for_the_fields_of_all_steps_in_their_order(subject: Subject) -> None:
    chained = [name for step in chain_of(subject, "chained") for name in step.answer.model_fields]
    modes: list[Mode] = ["single"]
    assert [list(step.answer.model_fields) for mode in modes for step in chain_of(subject, mode)] == [chained]


@pytest.mark.parametrize(
    ("kind", "field", "limit"),
    [("item.synthesis", "feature", FEATURE_WORDS), ("user.synthesis", "interest", INTEREST_WORDS)],
)
def test_limits_in_words_are_enforced(kind: str, field: str, limit: int) -> None:
    step = next(step for step in STEPS if step.kind == kind)
    rest = {"tags": ["silk", "travel", "gift idea"]} if field == "feature" else {}
    whole = {field: " ".join(["word"] * limit), **rest}
    assert parse_answer(step.answer, json.dumps(whole)) == whole
    over = {**whole, field: " ".join(["word"] * (limit + 1))}
    assert "unparsable" in str(parse_answer(step.answer, json.dumps(over)))


@pytest.mark.parametrize(
    "tags",
    [
        ["one", "two"],
        ["a b c d", "two", "three"],
        ["One", "two", "three"],
        ["x"] * 6,
        ["one", "two", "x" * 60],
    ],
)
def test_tags_are_three_to_five_of_one_to_three_short_words(tags: list[str]) -> None:
    step = next(step for step in STEPS if step.kind == "item.synthesis")
    text = json.dumps({"feature": "one two three four five six", "tags": tags})
    assert str(parse_answer(step.answer, text)).startswith("unparsable answer (tags")


@pytest.mark.parametrize(
    "text", ["", "I think", '{"likes": "cut of', "[]", "null", '{"likes": "a b c d", "x": 1}']
)
def test_what_is_no_answer_gives_a_reason_in_one_line(text: str) -> None:
    reason = parse_answer(chain_of("user", "chained")[0].answer, text)
    assert isinstance(reason, str) and reason.startswith("unparsable answer") and "\n" not in reason
