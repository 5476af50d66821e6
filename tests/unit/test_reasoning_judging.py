from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isrf_pipeline.reasoning.answers import ItemForward
from isrf_pipeline.reasoning.conversation import Completion
from isrf_pipeline.reasoning.judging import (
    AnswerRules,
    Unacceptable,
    accepted_fields,
    echoed_share,
    written_in,
)
from isrf_pipeline.reasoning.prompts import Prompt

PROMPT = Prompt(
    "Read one article.",
    (("Title: Cups", '{"who_for":"Hosts who love slow coffee and handmade stoneware cups"}'),),
    "Title: Linen apron\nDescription: A heavy apron in washed linen with two deep pockets",
)


def judged(who_for: str, rules: AnswerRules | None = None) -> dict[str, object] | Unacceptable:
    completion = Completion(json.dumps({"who_for": who_for}), 10, 10)
    return accepted_fields(ItemForward, completion, PROMPT, rules or AnswerRules())


def test_an_answer_in_own_words_is_accepted() -> None:
    assert judged("Hosts who enjoy long unhurried evenings in their kitchen") == {
        "who_for": "Hosts who enjoy long unhurried evenings in their kitchen"
    }


def test_the_example_given_back_is_an_echo() -> None:
    answer = judged("Hosts who love slow coffee and handmade stoneware cups")
    assert isinstance(answer, Unacceptable) and answer.reason == "echo of the prompt (100% of the words)"


def test_an_answer_in_another_language_is_not_accepted() -> None:
    german = "Clients who want eine Schürze aus gewaschenem Leinen mit tiefen Taschen"
    assert isinstance(judged(german, AnswerRules(language="fr")), Unacceptable)
    assert isinstance(judged(german, AnswerRules(language=None)), dict)


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("A light silk scarf for travellers who love colour and pack little", "en"),
        ("Une écharpe légère en soie pour les voyageurs qui aiment la couleur", "fr"),
        ("Ein leichter Schal aus Seide für Reisende, die Farben lieben", "de"),
        ("silk scarf", None),
    ],
)
def test_language(text: str, language: str | None) -> None:
    assert written_in(text) == language


def test_empty_and_unfinished_answers_say_so() -> None:
    empty = accepted_fields(ItemForward, Completion(" ", 10, 1), PROMPT, AnswerRules())
    cut = accepted_fields(
        ItemForward, Completion('{"who', 9, 120, failure="did not end"), PROMPT, AnswerRules()
    )
    assert empty == Unacceptable("empty answer")
    assert cut == Unacceptable("did not end")


def test_echo_by_hand() -> None:
    # Runs of four: "one two three four" and "two three four five" are known, so five of eight words are covered.
    assert echoed_share("one two three four five six seven eight", ["one two three four five"]) == 5 / 8
    assert echoed_share("one two three", ["one two three"]) == 0, "too short to tell"


@given(st.lists(st.sampled_from("abcdefgh"), min_size=6, max_size=30).map(" ".join))
def test_echo_of_itself_is_whole_and_of_nothing_is_none(text: str) -> None:
    assert echoed_share(text, [text]) == 1
    assert echoed_share(text, []) == 0
