from __future__ import annotations

import json
from pathlib import Path

import pytest

from isrf_pipeline.config.settings import EngineSettings, ReasoningSettings
from isrf_pipeline.errors import InputRefusedError, UsageError
from isrf_pipeline.reasoning.backends import require_backend
from isrf_pipeline.reasoning.conversation import Chain, Conversation
from isrf_pipeline.reasoning.fingerprint import ModelIdentity, fingerprint
from isrf_pipeline.reasoning.judging import AnswerRules
from isrf_pipeline.reasoning.replay import RecordedAnswers
from isrf_pipeline.reasoning.steps import chain_of

MODEL = ModelIdentity.of(EngineSettings())
STEPS = chain_of("item", "single")
ANSWER = {
    "who_for": "People who love it very much",
    "who_not_for": "People who prefer other things",
    "feature": "A thing of beauty for many people",
    "tags": ["one", "two", "three"],
}


def chain(title: str) -> Chain:
    values = {"title": title, "brand": None, "categories": "", "price": None, "description": None}
    return Chain(title, json.dumps(values | {"attributes": {}}))


def test_recorded_answers_are_given_by_fingerprint_and_others_are_dead_letters(tmp_path: Path) -> None:
    path = tmp_path / "answers.jsonl"
    known = fingerprint(STEPS[0], chain("Scarf").prompt(STEPS[0]), MODEL)
    record = {"fingerprint": known, "text": json.dumps(ANSWER), "tokens_in": 7, "tokens_out": 5}
    path.write_text(json.dumps(record) + "\n")
    conversations = [Conversation(chain(t), STEPS, MODEL, AnswerRules()) for t in ("Scarf", "Tote")]
    scarf, tote = RecordedAnswers(path).carry(conversations)
    assert (scarf.status, json.loads(scarf.answer or ""), scarf.tokens_in) == ("ok", ANSWER, 7)
    assert (tote.status, tote.reason) == ("dead", "item.single: not among the recorded answers")


def test_a_broken_recording_names_its_line(tmp_path: Path) -> None:
    path = tmp_path / "answers.jsonl"
    path.write_text('{"fingerprint": "f", "text": "t", "tokens_in": 1, "tokens_out": 1}\n{"fingerprint": 1\n')
    with pytest.raises(InputRefusedError, match="line 2"):
        RecordedAnswers(path)


@pytest.mark.parametrize(
    ("given", "rule"),
    [
        ({"backend": "server"}, "names no server"),
        ({"backend": "replay"}, "is no file"),
        ({"backend": "replay", "replay": {"path": "/nowhere/answers.jsonl"}}, "is no file"),
    ],
)
def test_what_a_backend_lacks_is_said_before_any_work(given: dict[str, object], rule: str) -> None:
    with pytest.raises(UsageError, match=rule):
        require_backend(ReasoningSettings.model_validate(given))
