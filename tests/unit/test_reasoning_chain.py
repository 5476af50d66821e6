from __future__ import annotations

import json
from collections.abc import Sequence

from isrf_pipeline.config.settings import EngineSettings
from isrf_pipeline.reasoning.chain import Chain, Completion, ask
from isrf_pipeline.reasoning.fingerprint import ModelIdentity, fingerprint
from isrf_pipeline.reasoning.prompts import Prompt
from isrf_pipeline.reasoning.steps import Step, chain_of

MODEL = ModelIdentity.of(EngineSettings())
STEPS = chain_of("item", "chained")
FORWARD = json.dumps({"who_for": "Travellers who love to pack light"})
BACKWARD = json.dumps({"who_not_for": "People who prefer loud logos"})
SYNTHESIS = json.dumps(
    {"feature": "A light silk scarf for elegant travellers", "tags": ["silk", "travel", "light"]}
)


def item(title: str) -> str:
    row = {
        "title": title,
        "brand": None,
        "categories": "",
        "price": None,
        "description": None,
        "attributes": {},
    }
    return json.dumps(row)


class Scripted:
    """Answers each step with a fixed text, or what ``bad`` says for a prompt that contains its key."""

    def __init__(self, bad: dict[tuple[str, str], Completion] | None = None) -> None:
        self.bad = bad or {}
        self.asked: list[tuple[str, list[str]]] = []

    def generate(self, step: Step, prompts: Sequence[Prompt]) -> list[Completion]:
        self.asked.append((step.kind, [prompt.user for prompt in prompts]))
        good = {"item.forward": FORWARD, "item.backward": BACKWARD, "item.synthesis": SYNTHESIS}[step.kind]
        return [
            next(
                (c for (kind, word), c in self.bad.items() if kind == step.kind and word in prompt.user),
                Completion(good, 10, 5),
            )
            for prompt in prompts
        ]


def test_each_step_is_asked_once_for_the_whole_batch_and_reads_the_earlier_answers() -> None:
    model = Scripted()
    rows = ask([Chain("1", item("Scarf"), []), Chain("2", item("Tote"), [])], STEPS, MODEL, model)
    assert [kind for kind, _ in model.asked] == ["item.forward", "item.backward", "item.synthesis"]
    assert [len(users) for _, users in model.asked] == [2, 2, 2]
    assert "Who would enjoy it: Travellers who love to pack light" in model.asked[1][1][0]
    assert "Who would not: People who prefer loud logos" in model.asked[2][1][0]
    assert [row.status for row in rows] == ["ok"] * 6
    assert len({row.fingerprint for row in rows}) == 6


def test_rows_carry_the_fingerprint_of_what_was_asked() -> None:
    chain = Chain("1", item("Scarf"), [])
    expected = fingerprint(STEPS[0], chain.prompt(STEPS[0]), MODEL)
    assert ask([chain], STEPS, MODEL, Scripted())[0].fingerprint == expected


def test_a_chain_goes_on_where_its_stored_answers_end() -> None:
    model = Scripted()
    chains = [Chain("1", item("Scarf"), [FORWARD, BACKWARD]), Chain("2", item("Tote"), [FORWARD])]
    rows = ask(chains, STEPS, MODEL, model)
    assert [(row.subject, row.kind) for row in rows] == [
        ("2", "item.backward"),
        ("1", "item.synthesis"),
        ("2", "item.synthesis"),
    ]


def test_a_dead_letter_costs_its_own_chain_only_and_keeps_reason_and_raw_text() -> None:
    model = Scripted(
        {
            ("item.forward", "Tote"): Completion("", 0, 0, "prompt of 9000 tokens is over the limit of 1928"),
            ("item.backward", "Coat"): Completion('{"who_not_for": "cut', 10, 100, "answer did not end"),
            ("item.synthesis", "Watch"): Completion("no JSON", 10, 3),
        }
    )
    titles = ["Scarf", "Tote", "Coat", "Watch"]
    rows = ask([Chain(title, item(title), []) for title in titles], STEPS, MODEL, model)
    dead = {row.subject: row for row in rows if row.status == "dead"}
    assert set(dead) == {"Tote", "Coat", "Watch"}
    assert dead["Tote"].reason == "item.forward: prompt of 9000 tokens is over the limit of 1928"
    assert dead["Coat"].raw == '{"who_not_for": "cut' and dead["Coat"].answer is None
    assert (dead["Watch"].reason or "").startswith("item.synthesis: unparsable answer")
    assert [len(users) for _, users in model.asked] == [4, 3, 2], "a dead chain is not asked further"
    assert [row.kind for row in rows if row.subject == "Scarf" and row.status == "ok"] == [
        s.kind for s in STEPS
    ]
