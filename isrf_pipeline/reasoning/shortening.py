"""Makes an over-long input shorter, the least telling of it first."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

#: Characters of a token, on the low side: too small a cut costs another look at the length, too large a cut costs text.
_CHARS_PER_TOKEN = 3
#: What is left of a text at least, so that it still says what the article is.
_LEAST_CHARS = 40


def shortened(values: dict[str, Any], excess: int) -> dict[str, Any] | None:
    """Copy of a prompt's variables that renders some ``excess`` tokens shorter, or None where nothing can go.

    In this order: a client's oldest choices (the newest stays), the description's end, the longest attributes, the
    title's end.

    Parameters
    ----------
    values
        Variables of an item's or a client's prompt.
    excess
        Tokens by which the prompt is too long; at least 1.
    """
    cut = max(excess, 1) * _CHARS_PER_TOKEN
    for shorten in (_history, _text("description"), _attributes, _text("title")):
        shorter = shorten(values, cut)
        if shorter is not None:
            return shorter
    return None


def _history(values: dict[str, Any], cut: int) -> dict[str, Any] | None:
    history = values.get("history")
    if not history:
        return None
    if len(history) == 1:
        text = history[0]["text"]
        if len(text) <= _LEAST_CHARS:
            return None
        return values | {"history": [history[0] | {"text": text[: max(_LEAST_CHARS, len(text) - cut)]}]}
    kept = list(history)
    gone = 0
    while len(kept) > 1 and gone < cut:
        gone += len(kept.pop()["text"])
    return values | {"history": kept}


def _text(name: str) -> Callable[[dict[str, Any], int], dict[str, Any] | None]:
    def shorten(values: dict[str, Any], cut: int) -> dict[str, Any] | None:
        text = values.get(name)
        if not text or len(text) <= _LEAST_CHARS:
            return None
        return values | {name: text[: max(_LEAST_CHARS, len(text) - cut)]}

    return shorten


def _attributes(values: dict[str, Any], cut: int) -> dict[str, Any] | None:
    attributes = values.get("attributes")
    if not attributes:
        return None
    kept = dict(attributes)
    # The longest entry first; of two equally long ones the later in the prompt.
    longest = sorted(kept, key=lambda key: (len(key) + len(kept[key] or ""), key), reverse=True)
    gone = 0
    for key in longest:
        if gone >= cut:
            break
        gone += len(key) + len(kept.pop(key) or "")
    return values | {"attributes": kept}
