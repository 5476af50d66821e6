"""One subject's way through its chain, as a conversation that any backend can carry.

A conversation gives requests, is handed their completions, and ends with the rows that reasoning.answers keeps. What
is asked next, how a bad answer is repaired and how an over-long input is shortened stand here; how requests are carried
to a model, how many at once and in which order, is the backend's.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from isrf_pipeline.reasoning.fingerprint import ModelIdentity, fingerprint
from isrf_pipeline.reasoning.judging import AnswerRules, Unacceptable, accepted_fields
from isrf_pipeline.reasoning.prompts import Message, Prompt, render_prompt, repair_turns
from isrf_pipeline.reasoning.shortening import shortened
from isrf_pipeline.reasoning.steps import Step

#: An input that is still too long after so many cuts is given up.
_MOST_CUTS = 8


@dataclass(frozen=True)
class Request:
    """One call of the model.

    Attributes
    ----------
    step
        Schema of the answer and its longest length.
    messages
        Chat messages in the order in which the model reads them.
    fingerprint
        Identity of the answer that is sought, the same for its repair.
    """

    step: Step
    messages: list[Message]
    fingerprint: str


@dataclass(frozen=True)
class Completion:
    """What the model made of one request.

    Attributes
    ----------
    text
        Raw text of the answer, empty where the request was refused.
    tokens_in, tokens_out
        Tokens read and written.
    tokens_cached
        Tokens read that came from the engine's prefix cache.
    failure
        Why there is no whole answer, or None.
    excess
        Tokens by which the prompt is longer than the model's room, or 0. Nothing was asked then.
    """

    text: str
    tokens_in: int
    tokens_out: int
    tokens_cached: int = 0
    failure: str | None = None
    excess: int = 0


@dataclass(frozen=True)
class AnswerRow:
    """One answer as reasoning.answers keeps it; a dead letter has no answer but a reason and its raw text."""

    fingerprint: str
    kind: str
    subject: str
    input_hash: str
    answer: str | None
    status: Literal["ok", "dead"]
    reason: str | None
    raw: str | None
    note: str | None
    calls: int
    tokens_in: int
    tokens_out: int
    tokens_cached: int


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
    """

    subject: str
    input: str
    answers: list[str] = field(default_factory=list)

    def values(self) -> dict[str, Any]:
        """Variables of the next prompt: the subject's data and the fields of all earlier answers."""
        values: dict[str, Any] = json.loads(self.input)
        for answer in self.answers:
            values |= json.loads(answer)
        return values

    @property
    def input_hash(self) -> str:
        """SHA-256 (hexadecimal) of the subject's own data."""
        return hashlib.sha256(self.input.encode()).hexdigest()

    def prompt(self, step: Step) -> Prompt:
        """Prompt of the next step."""
        return render_prompt(step.template, self.values())


@dataclass
class _Spent:
    calls: int = 0
    tokens_in: int = 0
    tokens_out: int = 0
    tokens_cached: int = 0

    def add(self, completion: Completion) -> None:
        self.calls += 1
        self.tokens_in += completion.tokens_in
        self.tokens_out += completion.tokens_out
        self.tokens_cached += completion.tokens_cached


class Conversation:
    """Takes a chain through the steps that it has not taken, to its end or to its first dead letter.

    Parameters
    ----------
    chain
        The subject; its answers are appended as they come.
    steps
        The steps of a whole chain.
    model
        Identity of the backend's model.
    rules
        What makes an answer acceptable.
    """

    def __init__(
        self, chain: Chain, steps: tuple[Step, ...], model: ModelIdentity, rules: AnswerRules
    ) -> None:
        #: Two conversations with one key would ask the same.
        self.key = f"{chain.subject}/{chain.input_hash}/{len(chain.answers)}"
        self._steps = _converse(chain, steps, model, rules)

    def advance(self, completion: Completion | None) -> Request | list[AnswerRow]:
        """Hand over the completion of the last request, None at first; get the next request, or the rows at the end."""
        try:
            return next(self._steps) if completion is None else self._steps.send(completion)
        except StopIteration as ended:
            rows: list[AnswerRow] = ended.value
            return rows


class Backend(Protocol):
    """Something that carries conversations to a language model."""

    def carry(
        self, conversations: Iterable[Conversation], ahead: Iterable[Conversation] = ()
    ) -> Iterator[AnswerRow]:
        """Carry every conversation to its end, in any order.

        Parameters
        ----------
        conversations
            Those whose rows are asked for.
        ahead
            Those of the next call, which may be begun while the last of this one are answered. A backend is free to
            leave them alone.

        Raises
        ------
        ReasoningError
            If the backend as a whole failed; a single bad prompt or answer is a completion with a failure.
        """
        ...


def _converse(
    chain: Chain, steps: tuple[Step, ...], model: ModelIdentity, rules: AnswerRules
) -> Generator[Request, Completion, list[AnswerRow]]:
    rows = []
    for step in steps[len(chain.answers) :]:
        row = yield from _answered(chain, step, model, rules)
        rows.append(row)
        if row.answer is None:
            break
        chain.answers.append(row.answer)
    return rows


def _answered(
    chain: Chain, step: Step, model: ModelIdentity, rules: AnswerRules
) -> Generator[Request, Completion, AnswerRow]:
    values = chain.values()
    prompt = render_prompt(step.template, values)
    identity = fingerprint(step, prompt, model)
    spent = _Spent()
    notes = []

    completion = yield Request(step, prompt.messages(), identity)
    for _ in range(_MOST_CUTS):
        if not completion.excess or (shorter := shortened(values, completion.excess)) is None:
            break
        values = shorter
        prompt = render_prompt(step.template, values)
        completion = yield Request(step, prompt.messages(), identity)
        notes = ["input shortened to fit the model"]
    if completion.excess:
        reason = f"prompt is {completion.excess} tokens over the model's room and cannot be shortened further"
        return _row(chain, step, identity, Unacceptable(reason), "", notes, spent)
    spent.add(completion)

    fields = accepted_fields(step.answer, completion, prompt, rules)
    if isinstance(fields, Unacceptable) and fields.repairable:
        first = fields.reason
        turns = repair_turns(completion.text, first)
        repaired = yield Request(step, prompt.messages() + turns, identity)
        if not repaired.excess:
            spent.add(repaired)
            completion = repaired
            fields = accepted_fields(step.answer, repaired, prompt, rules)
            notes.append(f"second attempt after: {first}")
    return _row(chain, step, identity, fields, completion.text, notes, spent)


def _row(
    chain: Chain,
    step: Step,
    identity: str,
    fields: dict[str, Any] | Unacceptable,
    text: str,
    notes: list[str],
    spent: _Spent,
) -> AnswerRow:
    dead = isinstance(fields, Unacceptable)
    return AnswerRow(
        fingerprint=identity,
        kind=step.kind,
        subject=chain.subject,
        input_hash=chain.input_hash,
        answer=None if dead else json.dumps(fields, ensure_ascii=False),
        status="dead" if dead else "ok",
        reason=f"{step.kind}: {fields.reason}" if isinstance(fields, Unacceptable) else None,
        raw=text if dead else None,
        note="; ".join(notes) or None,
        **vars(spent),
    )
