from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from isrf_pipeline.reasoning.answers import FEATURE_WORDS, INTEREST_WORDS, guiding_schema, parse_answer
from isrf_pipeline.reasoning.steps import Mode, Step, Subject, chain_of

STEPS = [step for s in ("item", "user") for m in ("chained", "single", "free") for step in chain_of(s, m)]  # type: ignore[arg-type]


def nodes(schema: Any) -> Iterator[dict[str, Any]]:
    if isinstance(schema, dict):
        yield schema
        for value in schema.values():
            yield from nodes(value)


@pytest.mark.parametrize("step", STEPS, ids=lambda step: step.kind)
def test_every_string_and_array_of_a_schema_is_bounded(step: Step) -> None:
    schema = guiding_schema(step.answer)
    # What a large model wrote elsewhere has up to six tags; all that is asked for here keeps its bound.
    most = 6 if step.kind == "item.free" else 5
    assert schema["additionalProperties"] is False
    assert schema["required"] == list(step.answer.model_fields)
    for node in nodes(schema["properties"]):
        if node.get("type") == "string":
            assert node["pattern"].startswith("^") and node["pattern"].endswith("$")
            assert "+" not in node["pattern"] and "*" not in node["pattern"]
        if node.get("type") == "array":
            assert 3 <= node["minItems"] <= node["maxItems"] <= most


@pytest.mark.parametrize("subject", ["item", "user"])
def test_single_mode_asks_for_the_fields_of_all_steps_in_their_order(subject: Subject) -> None:
    chained = [name for step in chain_of(subject, "chained") for name in step.answer.model_fields]
    modes: list[Mode] = ["single"]
    assert [list(step.answer.model_fields) for mode in modes for step in chain_of(subject, mode)] == [chained]


def words(count: int) -> str:
    return " ".join(["word"] * count)


FEATURE = f"A {words(11)} for {words(7)}"
STEP = {step.kind: step for step in STEPS}


def interest(text: str) -> str:
    """What the interest ``text`` becomes, or the reason why it is refused."""
    parsed = parse_answer(STEP["user.synthesis"].answer, json.dumps({"interest": text}))
    return parsed if isinstance(parsed, str) else str(parsed["interest"])


def test_limits_in_words_are_enforced() -> None:
    assert interest(words(INTEREST_WORDS)) == words(INTEREST_WORDS)
    assert "unparsable" in interest(words(INTEREST_WORDS + 2))
    assert "unparsable" in interest("too short")
    tags = ["silk", "travel", "gift idea"]
    for feature, longest in ((FEATURE, FEATURE), (f"{FEATURE} forced", FEATURE)):
        parsed = parse_answer(STEP["item.synthesis"].answer, json.dumps({"feature": feature, "tags": tags}))
        assert parsed == {"feature": longest, "tags": tags}
        assert len(longest.split()) <= FEATURE_WORDS
    over = json.dumps({"feature": f"{FEATURE} one two", "tags": tags})
    assert "feature" in str(parse_answer(STEP["item.synthesis"].answer, over))


def test_free_answers_are_bounded_and_never_cut() -> None:
    def free(**changes: Any) -> Any:
        fields = {
            "who_for": None,
            "who_not_for": "Caramel haters; fresh fans",
            "feature": "Benzoin-caramel-musk pop-art chic; gourmand lover wanting sophisticated sugar",
            "tags": ["sweet scent", "bb cream", "women's health"],
        }
        return parse_answer(STEP["item.free"].answer, json.dumps(fields | changes))

    assert free()["feature"].startswith("Benzoin-caramel-musk") and free()["who_for"] is None
    assert free(feature=words(FEATURE_WORDS))["feature"] == words(FEATURE_WORDS)
    written = (
        "R&B fan of e.l.f. wanting (for 20,000 days) 0.4mm and 100%-natural colour, kids' and teens' choice"
    )
    assert free(feature=written)["feature"] == written
    refused = {
        "feature": words(FEATURE_WORDS + 1),
        "who_not_for": words(13),
        "tags.2": ["a", "b", "Not Lower"],
        "tags": ["one", "two"],
    }
    for where, value in refused.items():
        assert f"({where}:" in free(**{where.partition(".")[0]: value})


def test_the_word_that_the_grammar_forces_is_dropped_and_no_connector_ends_a_text() -> None:
    assert interest(f"{words(INTEREST_WORDS)} acanvas") == words(INTEREST_WORDS)
    assert interest(f"{words(48)} with, the forced") == words(48)
    assert interest(f"{words(8)} and") == words(8)
    assert interest("is it of the or to") == "is it of the or to", "never below the least number of words"


@pytest.mark.parametrize("endless", ["fts," * 30, "who's-who-loves-a", "a" * 40, "and/or/who"])
def test_endless_words_are_refused(endless: str) -> None:
    assert "unparsable" in interest(f"{words(8)} {endless}")


def test_words_of_the_trade_are_allowed() -> None:
    text = "Noé & Sons, hand-glazed 18k gold for the house's clients"
    assert interest(text) == text


@pytest.mark.parametrize(
    "tags",
    [
        ["one", "two"],
        ["a b c d", "two", "three"],
        ["One", "two", "three"],
        ["tag"] * 6,
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
