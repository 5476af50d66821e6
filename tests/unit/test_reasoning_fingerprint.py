from __future__ import annotations

import dataclasses

import pytest

from isrf_pipeline.config.settings import EngineSettings
from isrf_pipeline.reasoning.fingerprint import ModelIdentity, fingerprint
from isrf_pipeline.reasoning.prompts import Prompt
from isrf_pipeline.reasoning.steps import chain_of

STEP = chain_of("item", "chained")[0]
MODEL = ModelIdentity.of(EngineSettings())
PROMPT = Prompt("system", (("example", "answer"),), "user")


def test_the_same_call_has_the_same_fingerprint() -> None:
    again = fingerprint(
        STEP, Prompt("system", (("example", "answer"),), "user"), ModelIdentity.of(EngineSettings())
    )
    assert again == fingerprint(STEP, PROMPT, MODEL)
    assert len(again) == 64


@pytest.mark.parametrize(
    "change",
    [
        {"model": dataclasses.replace(MODEL, name="other")},
        {"model": dataclasses.replace(MODEL, revision="2")},
        {"model": dataclasses.replace(MODEL, temperature=0.7)},
        {"model": dataclasses.replace(MODEL, seed=1)},
        {"prompt": Prompt("system", (("example", "answer"),), "user.")},
        {"prompt": Prompt("system.", (("example", "answer"),), "user")},
        {"prompt": Prompt("system", (("example", "answer."),), "user")},
        {"version": "v3"},
        {"step": chain_of("item", "chained")[1]},
        {"step": dataclasses.replace(STEP, max_tokens=STEP.max_tokens + 1)},
        {"step": dataclasses.replace(STEP, answer=chain_of("item", "chained")[1].answer)},
    ],
)
def test_whatever_decides_an_answer_changes_the_fingerprint(change: dict[str, object]) -> None:
    base = {"step": STEP, "prompt": PROMPT, "model": MODEL, "version": "v2"}
    assert fingerprint(**(base | change)) != fingerprint(**base)  # type: ignore[arg-type]


def test_how_an_engine_runs_does_not_change_the_identity() -> None:
    other = EngineSettings(threads=1, max_num_seqs=8, kv_cache_gib=3)
    assert ModelIdentity.of(other) == MODEL


def test_the_bundled_model_is_known_by_name_and_not_by_folder() -> None:
    assert MODEL.name == "smollm2-135m-instruct"
