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
            assert node["pattern"].startswith("^") and node["pattern"].endswith("$")
            assert "+" not in node["pattern"] and "*" not in node["pattern"]
        if node.get("type") == "array":
            assert node["maxItems"] == 5 and node["minItems"] == 3


@pytest.mark.parametrize("subject", ["item", "user"])
def test_single_mode_asks_for_the_fields_of_all_steps_in_their_order(subject: Subject) -> None:
    chained = [name for step in chain_of(subject, "chained") for name in step.answer.model_fields]
    modes: list[Mode] = ["single"]
    assert [list(step.answer.model_fields) for mode in modes for step in chain_of(subject, mode)] == [chained]


def words(count: int) -> str:
    return " ".join(["word"] * count)


FEATURE = f"A {words(13)} for {words(10)}"
STEP = {step.kind: step for step in STEPS}


def test_limits_in_words_are_enforced() -> None:
    assert len(FEATURE.split()) == FEATURE_WORDS
    synthesis, tags = STEP["item.synthesis"].answer, ["silk", "travel", "gift idea"]
    assert parse_answer(synthesis, json.dumps({"feature": FEATURE, "tags": tags})) == {
        "feature": FEATURE,
        "tags": tags,
    }
    for over in (f"{FEATURE} more", f"A word {FEATURE[2:]}"):
        assert "feature" in str(parse_answer(synthesis, json.dumps({"feature": over, "tags": tags})))
    interest = STEP["user.synthesis"].answer
    fitting = {"interest": words(INTEREST_WORDS)}
    assert parse_answer(interest, json.dumps(fitting)) == fitting
    assert "interest" in str(parse_answer(interest, json.dumps({"interest": words(INTEREST_WORDS + 1)})))


@pytest.mark.parametrize("endless", ["fts," * 30, "who's-who-loves-a", "a" * 40, "and/or/who"])
def test_endless_words_are_refused(endless: str) -> None:
    text = json.dumps({"interest": f"{words(8)} {endless}"})
    assert "interest" in str(parse_answer(STEP["user.synthesis"].answer, text))


def test_words_of_the_trade_are_allowed() -> None:
    text = "Noé & Sons, hand-glazed 18k gold for the house's clients"
    assert parse_answer(STEP["user.synthesis"].answer, json.dumps({"interest": text})) == {"interest": text}


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
    text = json.dumps({"feature": FEATURE, "tags": tags})
    assert str(parse_answer(STEP["item.synthesis"].answer, text)).startswith("unparsable answer (tags")


@pytest.mark.parametrize(
    "text", ["", "I think", '{"likes": "cut of', "[]", "null", '{"likes": "a b c d", "x": 1}']
)
def test_what_is_no_answer_gives_a_reason_in_one_line(text: str) -> None:
    reason = parse_answer(chain_of("user", "chained")[0].answer, text)
    assert isinstance(reason, str) and reason.startswith("unparsable answer") and "\n" not in reason
