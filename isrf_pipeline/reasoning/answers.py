"""What the model may answer: one pydantic model a step, whose JSON schema guides decoding.

Every string and array is bounded, so that no answer can run on until the token limit. Limits in words stand in the
schema as patterns, so that the grammar itself ends a sentence in time and no word is cut.
"""

from __future__ import annotations

import functools
import re
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    create_model,
)

#: Longest semantic item feature and interest text, in words (method.md).
FEATURE_WORDS = 25
INTEREST_WORDS = 50

#: A word has at most one hyphen and no mark but a comma after it: left alone, small models chain one word for ever.
_LAST = "[A-Za-zÀ-ÿ0-9][A-Za-zÀ-ÿ0-9'’]{0,14}"
_WORD = f"({_LAST}(-[A-Za-zÀ-ÿ]{{2,12}})?,?|&)"
#: Words that cannot end a text.
_CONNECTORS = frozenset(
    re.findall(
        r"\S+",
        "a an and are as at be but by for from has have in is it its of on or that the their they this to who with &",
    )
)


def _ended(least: int, most: int) -> AfterValidator:
    """Cut to ``most`` words and drop connectors from the end, down to ``least`` words.

    A grammar lets a text of one word more through: where a model would rather go on, it forces something on the last
    word, so that word is dropped.
    """

    def ended(text: str) -> str:
        words = text.split()[:most]
        while len(words) > least and words[-1].rstrip(",").lower() in _CONNECTORS:
            words.pop()
        return " ".join(words).rstrip(",")

    return AfterValidator(ended)


def _words(least: int, most: int, opening: str = "") -> StringConstraints:
    """Text of ``least`` to ``most`` words and one more that :func:`_ended` drops; an ``opening`` has three words."""
    before = 3 if opening else 0
    return StringConstraints(pattern=f"^{opening}({_WORD} ){{{least - before - 1},{most - before}}}{_LAST}$")


#: Openings keep a small model on the question; left alone, it answers each with the same praise of the article.
_FOR = "(Clients|Collectors|Travellers|Hosts|People) who (love|wear|value|enjoy|collect|want|need) "
_NOT_FOR = "(Clients|Collectors|Travellers|Hosts|People) who (prefer|avoid|dislike) "


class Answer(BaseModel):
    """Base of all answers: no other fields than the declared ones."""

    model_config = ConfigDict(extra="forbid", frozen=True)


Tag = Annotated[str, StringConstraints(pattern="^[a-z]{3,14}(-[a-z]{2,10})?( [a-z]{2,14}){0,2}$")]


class ItemForward(Answer):
    """Who would enjoy the article, and why."""

    who_for: Annotated[str, _words(6, 11, _FOR), _ended(6, 11)]


class ItemBackward(Answer):
    """Who would not enjoy it, and why."""

    who_not_for: Annotated[str, _words(5, 9, _NOT_FOR), _ended(5, 9)]


#: What it is (at most 12 words with its article) and for whom (at most 9 with the preposition), the last one dropped.
_FEATURE = f"^(A|An|The) ({_WORD} ){{3,11}}for ({_WORD} ){{1,7}}{_LAST}$"


class ItemSynthesis(Answer):
    """The semantic feature that weighs both, and tags that recur over the catalogue."""

    feature: Annotated[str, StringConstraints(pattern=_FEATURE), _ended(7, 20)]
    tags: Annotated[list[Tag], Field(min_length=3, max_length=4)]


class UserForward(Answer):
    """What the client looks for."""

    likes: Annotated[str, _words(4, 20), _ended(4, 20)]


class UserBackward(Answer):
    """What the client passes by."""

    avoids: Annotated[str, _words(4, 12), _ended(4, 12)]


class UserSynthesis(Answer):
    """The interest text that weighs both."""

    interest: Annotated[str, _words(6, INTEREST_WORDS), _ended(6, INTEREST_WORDS)]


def joined(name: str, *steps: type[Answer]) -> type[Answer]:
    """Model with the fields of ``steps`` in their order: one answer for all of them."""
    fields: dict[str, Any] = {
        field: (info.rebuild_annotation(), ...) for step in steps for field, info in step.model_fields.items()
    }
    return create_model(name, __base__=Answer, **fields)


ItemSingle = joined("ItemSingle", ItemForward, ItemBackward, ItemSynthesis)

#: A word of free text: whole words in any join, initials, figures. What a page, a spreadsheet or a shell would read as
#: its own (markup, formulas, addresses, invisible characters) is none, and no text begins with a mark.
_LETTERS = "A-Za-zÀ-ÖØ-öø-ÿ0-9"
_JOINED = f"([-'’/&][{_LETTERS}]{{1,20}}|\\.[0-9]{{1,3}}[a-z]{{0,3}}|,[0-9]{{3}}|%-[a-z]{{1,20}})"
_FREE_OPENING = f"([A-Za-z]\\.){{2,5}}|[{_LETTERS}]{{1,20}}{_JOINED}{{0,6}}[-'’,;.:%)]{{0,2}}"
_FREE_WORD = f"({_FREE_OPENING}|[(']({_FREE_OPENING})|&)"
_FREE_TAG_WORD = "[a-z0-9][a-z0-9'-]{0,18}"


def _free(least: int, most: int) -> StringConstraints:
    """Text of ``least`` to ``most`` words, whatever its form."""
    return StringConstraints(pattern=f"^({_FREE_OPENING})( {_FREE_WORD}){{{least - 1},{most - 1}}}$")


FreeTag = Annotated[str, StringConstraints(pattern=f"^{_FREE_TAG_WORD}( {_FREE_TAG_WORD}){{0,3}}$")]


class ItemFree(Answer):
    """All steps in one answer of a model that needs no form to stay with its question: bounds, and nothing else.

    Nothing is cut: a text beyond its bounds is refused.
    """

    who_for: Annotated[str, _free(2, 12)] | None
    who_not_for: Annotated[str, _free(1, 12)]
    feature: Annotated[str, _free(5, FEATURE_WORDS)]
    tags: Annotated[list[FreeTag], Field(min_length=3, max_length=6)]


UserSingle = joined("UserSingle", UserForward, UserBackward, UserSynthesis)


@functools.cache
def guiding_schema(answer: type[Answer]) -> dict[str, Any]:
    """JSON schema of ``answer`` without titles and descriptions, which would only move its fingerprint."""
    schema = _bare(answer.model_json_schema())
    assert isinstance(schema, dict)
    return schema


def parse_answer(answer: type[Answer], text: str) -> dict[str, Any] | str:
    """Fields of the answer in ``text``, or the reason why it is none.

    Parameters
    ----------
    answer
        The step's model.
    text
        What the engine wrote.

    Returns
    -------
    dict or str
        The fields; or one line for the dead letter.
    """
    try:
        return answer.model_validate_json(text).model_dump()
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "answer"
        # A key that the model made up may hold anything.
        return " ".join(f"unparsable answer ({where}: {first['msg']})".split())[:200]


def _bare(node: Any) -> Any:
    if isinstance(node, dict):
        # A property may be called title; its value is a schema and no string.
        return {
            key: _bare(value)
            for key, value in node.items()
            if not (key in ("title", "description") and isinstance(value, str))
        }
    if isinstance(node, list):
        return [_bare(value) for value in node]
    return node
