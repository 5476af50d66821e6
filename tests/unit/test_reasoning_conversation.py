from __future__ import annotations

import json
from collections.abc import Callable

from isrf_pipeline.config.settings import EngineSettings
from isrf_pipeline.reasoning.conversation import AnswerRow, Chain, Completion, Conversation, Request
from isrf_pipeline.reasoning.fingerprint import ModelIdentity, fingerprint
from isrf_pipeline.reasoning.judging import AnswerRules
from isrf_pipeline.reasoning.steps import chain_of

MODEL = ModelIdentity.of(EngineSettings())
STEPS = chain_of("item", "chained")
RULES = AnswerRules()
ANSWERS = {
    "item.forward": json.dumps({"who_for": "Travellers who love to pack light"}),
    "item.backward": json.dumps({"who_not_for": "People who prefer loud logos"}),
    "item.synthesis": json.dumps(
        {"feature": "A light silk scarf for elegant travellers", "tags": ["silk", "travel", "light"]}
    ),
}


def item(title: str, **values: object) -> str:
    row = {"title": title, "brand": None, "categories": "", "price": None, "description": None}
    return json.dumps(row | {"attributes": {}} | values)


def good(request: Request) -> Completion:
    return Completion(ANSWERS[request.step.kind], 10, 5, 4)


def carried(
    chain: Chain, model: Callable[[Request], Completion] = good
) -> tuple[list[AnswerRow], list[Request]]:
    """Carry one conversation to its end: its rows and all that was asked."""
    asked = []
    conversation = Conversation(chain, STEPS, MODEL, RULES)
    outcome = conversation.advance(None)
    while not isinstance(outcome, list):
        asked.append(outcome)
        outcome = conversation.advance(model(outcome))
    return outcome, asked


def test_each_step_reads_the_answers_of_the_earlier_ones() -> None:
    rows, asked = carried(Chain("1", item("Scarf")))
    assert [request.step.kind for request in asked] == ["item.forward", "item.backward", "item.synthesis"]
    assert "Who would enjoy it: Travellers who love to pack light" in asked[1].messages[-1]["content"]
    assert "Who would not: People who prefer loud logos" in asked[2].messages[-1]["content"]
    assert [(row.status, row.calls, row.tokens_in, row.tokens_cached) for row in rows] == [
        ("ok", 1, 10, 4)
    ] * 3
    assert len({row.fingerprint for row in rows}) == 3


def test_rows_carry_the_fingerprint_of_what_was_asked() -> None:
    chain = Chain("1", item("Scarf"))
    expected = fingerprint(STEPS[0], chain.prompt(STEPS[0]), MODEL)
    rows, asked = carried(chain)
    assert rows[0].fingerprint == asked[0].fingerprint == expected


def test_a_chain_goes_on_where_its_stored_answers_end() -> None:
    rows, _ = carried(Chain("1", item("Scarf"), [ANSWERS["item.forward"], ANSWERS["item.backward"]]))
    assert [row.kind for row in rows] == ["item.synthesis"]


def test_a_bad_answer_is_shown_to_the_model_once_and_then_a_dead_letter() -> None:
    def garbage(request: Request) -> Completion:
        return Completion("no JSON", 10, 3)

    rows, asked = carried(Chain("1", item("Scarf")), garbage)
    assert len(asked) == 2, "one question and one second attempt; later steps are not asked"
    assert asked[1].messages[:-2] == asked[0].messages
    assert asked[1].messages[-2] == {"role": "assistant", "content": "no JSON"}
    assert "unparsable answer" in asked[1].messages[-1]["content"]
    (row,) = rows
    assert (row.status, row.answer, row.raw, row.calls, row.tokens_in) == ("dead", None, "no JSON", 2, 20)
    assert (row.reason or "").startswith("item.forward: unparsable answer")


def test_a_second_attempt_that_succeeds_is_an_answer_with_a_note_under_the_first_fingerprint() -> None:
    def once_bad(request: Request) -> Completion:
        first = request.step.kind == "item.forward" and len(request.messages) == 4
        return Completion("{}", 10, 3) if first else good(request)

    rows, asked = carried(Chain("1", item("Scarf")), once_bad)
    assert [row.status for row in rows] == ["ok"] * 3
    assert rows[0].calls == 2 and "second attempt" in (rows[0].note or "")
    assert rows[0].fingerprint == asked[0].fingerprint
    assert rows[1].note is None


def test_an_answer_that_does_not_end_is_repaired_too() -> None:
    def cut_off(request: Request) -> Completion:
        return Completion('{"who_for": "cut', 10, 120, failure="answer did not end (finish_reason length)")

    rows, asked = carried(Chain("1", item("Scarf")), cut_off)
    assert len(asked) == 2 and "did not end" in asked[1].messages[-1]["content"]
    assert rows[0].raw == '{"who_for": "cut'


def test_a_refused_request_is_not_repaired() -> None:
    rows, asked = carried(Chain("1", item("Scarf")), lambda _: Completion("", 0, 0, failure="refused"))
    assert len(asked) == 1 and rows[0].reason == "item.forward: refused"


def test_an_over_long_input_is_shortened_until_it_fits() -> None:
    def room_for_600_characters(request: Request) -> Completion:
        over = len(request.messages[-1]["content"]) - 600
        return Completion("", 0, 0, excess=-(-over // 4)) if over > 0 else good(request)

    long = item("Scarf", description="silk " * 400, attributes={f"p{n}": "of no interest" for n in range(90)})
    rows, asked = carried(Chain("1", long), room_for_600_characters)
    assert [row.status for row in rows] == ["ok"] * 3
    assert all(row.note == "input shortened to fit the model" for row in rows)
    assert [row.calls for row in rows] == [1, 1, 1], "what was too long was not asked"
    assert rows[0].fingerprint == asked[0].fingerprint, "the identity is that of the whole input"
    assert "Title: Scarf" in asked[-1].messages[-1]["content"]


def test_an_input_that_cannot_be_shortened_enough_is_a_dead_letter() -> None:
    rows, asked = carried(Chain("1", item("Scarf")), lambda _: Completion("", 0, 0, excess=50))
    assert len(asked) == 1
    assert "50 tokens over the model's room" in (rows[0].reason or "")
    assert rows[0].calls == 0
