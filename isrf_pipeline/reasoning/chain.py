"""Takes a batch of subjects through the steps of their chain that were never asked.

Pure Python over batches; Spark hands the batches in and stores what comes out.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from isrf_pipeline.reasoning.answers import parse_answer
from isrf_pipeline.reasoning.fingerprint import ModelIdentity, fingerprint
from isrf_pipeline.reasoning.prompts import Prompt, render_prompt
from isrf_pipeline.reasoning.steps import Step


@dataclass(frozen=True)
class Completion:
    """What the engine made of one prompt.

    Attributes
    ----------
    text
        Raw text of the answer, empty where the engine refused the prompt.
    tokens_in, tokens_out
        Tokens read and written.
    failure
        Why there is no whole answer, or None.
    """

    text: str
    tokens_in: int
    tokens_out: int
    failure: str | None = None


class Generator(Protocol):
    """A language model that answers a batch of prompts of one step."""

    def generate(self, step: Step, prompts: Sequence[Prompt]) -> list[Completion]:
        """Answer ``prompts``, in their order.

        Raises
        ------
        ReasoningError
            If the engine as a whole failed; a single bad prompt or answer is a completion with a failure.
        """
        ...


@dataclass
class Chain:
    """One subject on its way.

    Attributes
    ----------
    subject
        item_id or user_id; never shown to the model.
    input
        Variables of the prompts as JSON: the subject's own data.
    answers
        Answers of the steps already taken, as JSON, in their order.
    dead
        Whether a step ended in a dead letter, so that no further one is asked.
    """

    subject: str
    input: str
    answers: list[str]
    dead: bool = False

    def prompt(self, step: Step) -> Prompt:
        """Prompt of the next step: the subject's data and the fields of all earlier answers."""
        values: dict[str, Any] = json.loads(self.input)
        for answer in self.answers:
            values |= json.loads(answer)
        return render_prompt(step.template, values)


@dataclass(frozen=True)
class AnswerRow:
    """One answer as reasoning.answers keeps it; a dead letter has no answer but a reason and its raw text."""

    fingerprint: str
    kind: str
    subject: str
    answer: str | None
    status: Literal["ok", "dead"]
    reason: str | None
    raw: str | None
    tokens_in: int
    tokens_out: int


def ask(
    chains: Sequence[Chain], steps: Sequence[Step], model: ModelIdentity, generator: Generator
) -> list[AnswerRow]:
    """Take every chain to its end.

    Parameters
    ----------
    chains
        Subjects of one batch; they may have come to different steps.
    steps
        The steps of a whole chain; each is asked for the whole batch at once.
    model
        Identity of the generator's model.
    generator
        Answers the prompts.

    Returns
    -------
    list of AnswerRow
        One for each call, dead letters included.
    """
    rows: list[AnswerRow] = []
    for place, step in enumerate(steps):
        waiting = [chain for chain in chains if len(chain.answers) == place and not chain.dead]
        if not waiting:
            continue
        prompts = [chain.prompt(step) for chain in waiting]
        completions = generator.generate(step, prompts)
        for chain, prompt, completion in zip(waiting, prompts, completions, strict=True):
            row = _judged(step, chain.subject, fingerprint(step, prompt, model), completion)
            rows.append(row)
            if row.answer is None:
                chain.dead = True
            else:
                chain.answers.append(row.answer)
    return rows


def _judged(step: Step, subject: str, identity: str, completion: Completion) -> AnswerRow:
    reason = completion.failure
    answer = None
    if reason is None:
        parsed = parse_answer(step.answer, completion.text)
        if isinstance(parsed, str):
            reason = parsed
        else:
            answer = json.dumps(parsed, ensure_ascii=False)
    return AnswerRow(
        identity,
        step.kind,
        subject,
        answer,
        "ok" if reason is None else "dead",
        None if reason is None else f"{step.kind}: {reason}",
        None if reason is None else completion.text,
        completion.tokens_in,
        completion.tokens_out,
    )
