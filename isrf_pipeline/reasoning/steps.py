"""The chain of steps that a subject (an item or a client) goes through."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from isrf_pipeline.reasoning import answers
from isrf_pipeline.reasoning.answers import Answer, guiding_schema

Subject = Literal["item", "user"]
Mode = Literal["chained", "single", "free"]


@dataclass(frozen=True)
class Step:
    """One call of the model.

    Attributes
    ----------
    kind
        Subject and step, for example ``item.forward``.
    answer
        Model of the answer.
    max_tokens
        Longest answer; the schema's bounds lie below it, so that reaching it is a failure.
    """

    kind: str
    answer: type[Answer]
    max_tokens: int

    @property
    def template(self) -> str:
        """File name of the prompt, without its folder."""
        return f"{self.kind.replace('.', '_')}.j2"

    @property
    def schema(self) -> dict[str, Any]:
        """JSON schema that guides decoding."""
        return guiding_schema(self.answer)


_CHAINS: dict[tuple[Subject, Mode], tuple[Step, ...]] = {
    ("item", "chained"): (
        Step("item.forward", answers.ItemForward, 120),
        Step("item.backward", answers.ItemBackward, 100),
        Step("item.synthesis", answers.ItemSynthesis, 240),
    ),
    ("item", "single"): (Step("item.single", answers.ItemSingle, 400),),
    ("user", "chained"): (
        Step("user.forward", answers.UserForward, 140),
        Step("user.backward", answers.UserBackward, 100),
        Step("user.synthesis", answers.UserSynthesis, 260),
    ),
    ("item", "free"): (Step("item.free", answers.ItemFree, 400),),
    ("user", "single"): (Step("user.single", answers.UserSingle, 400),),
    # Texts on clients have no form that a larger model would be held back by.
    ("user", "free"): (Step("user.single", answers.UserSingle, 400),),
}


def chain_of(subject: Subject, mode: Mode) -> tuple[Step, ...]:
    """Steps of ``subject`` in their order: forward, backward, synthesis; or one that holds all of them."""
    return _CHAINS[subject, mode]
