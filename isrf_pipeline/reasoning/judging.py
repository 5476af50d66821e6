"""Judges what a model wrote: whole, parsable, in the right language, its own words."""

from __future__ import annotations

import functools
import importlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from isrf_pipeline.reasoning.answers import Answer, parse_answer

if TYPE_CHECKING:
    from isrf_pipeline.reasoning.conversation import Completion
    from isrf_pipeline.reasoning.prompts import Prompt

#: Words in a row that an answer shares with the prompt before it counts as copied.
_RUN = 4
#: Shorter answers say too little to tell a language or a copy.
_LEAST_WORDS = 6
#: Below this probability the language of a short text is a guess, and a guess costs nobody his answer.
_SURE = 0.9


@dataclass(frozen=True)
class AnswerRules:
    """What makes an answer acceptable beside its schema.

    Attributes
    ----------
    language
        ISO 639-1 code of the language that answers are written in, or None where any will do.
    max_echo
        Largest share of an answer's words that may stand in the prompt in runs of four words and more.
    """

    language: str | None = "en"
    max_echo: float = 0.8


@dataclass(frozen=True)
class Unacceptable:
    """Why there is no acceptable answer.

    Attributes
    ----------
    reason
        One line, fit to be shown to the model.
    repairable
        Whether asking once more, with the reason, makes sense.
    """

    reason: str
    repairable: bool = True


def accepted_fields(
    answer: type[Answer], completion: Completion, prompt: Prompt, rules: AnswerRules
) -> dict[str, Any] | Unacceptable:
    """Fields of an acceptable answer, or why it is none.

    Parameters
    ----------
    answer
        The step's model.
    completion
        What the backend brought.
    prompt
        What the model had read.
    rules
        Language and echo.
    """
    if completion.failure is not None:
        return Unacceptable(completion.failure, repairable=bool(completion.text))
    if not completion.text.strip():
        return Unacceptable("empty answer")
    fields = parse_answer(answer, completion.text)
    if isinstance(fields, str):
        return Unacceptable(fields)
    text = " ".join(value for value in fields.values() if isinstance(value, str))
    echo = echoed_share(text, prompt.texts())
    if echo > rules.max_echo:
        return Unacceptable(f"echo of the prompt ({echo:.0%} of the words)")
    language = written_in(text)
    if rules.language is not None and language not in (None, rules.language):
        return Unacceptable(f"wrong language ({language} instead of {rules.language})")
    return fields


def echoed_share(text: str, sources: Iterable[str]) -> float:
    """Share of the words of ``text`` that lie in runs of at least four words found in one of ``sources``; 0 to 1."""
    words = _words(text)
    if len(words) < _LEAST_WORDS:
        return 0.0
    known = {run for source in sources for run in _runs(_words(source))}
    covered: set[int] = set()
    for start, run in enumerate(_runs(words)):
        if run in known:
            covered.update(range(start, start + _RUN))
    return len(covered) / len(words)


def written_in(text: str) -> str | None:
    """ISO 639-1 code of the language of ``text``, or None where it is too short to tell."""
    if len(_words(text)) < _LEAST_WORDS:
        return None
    language, probability = _identifier().classify(text)
    return str(language) if probability >= _SURE else None


@functools.cache
def _identifier() -> Any:
    langid = importlib.import_module("py3langid.langid")
    return langid.LanguageIdentifier.from_model_file(langid.MODEL_FILE, norm_probs=True)


def _words(text: str) -> list[str]:
    return re.findall(r"\w+", text.lower())


def _runs(words: list[str]) -> list[tuple[str, ...]]:
    return [tuple(words[start : start + _RUN]) for start in range(len(words) - _RUN + 1)]
