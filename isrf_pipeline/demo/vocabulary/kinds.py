"""What one kind of article is made of: the type that every vocabulary module fills in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Voice = Literal["cut", "made", "jewel", "watch", "scent"]
"""How an article of a kind is described; chooses the opening sentences and the form of the title."""


@dataclass(frozen=True)
class Kind:
    """A kind of article (suits, rings, candles) with all the words that may describe it.

    Within a kind every noun, material, detail and sentence goes with every other, so that any combination
    reads as something a shop would sell.

    Parameters
    ----------
    key
        Name unique among all kinds.
    family
        Category path from department to leaf.
    nouns
        What the article may be called; all singular or, with `plural`, all plural.
    houses
        Houses that make it.
    prices
        Lowest and highest usual price in EUR, before the house's own factor.
    looks
        Materials, each with the colours it comes in.
    details
        Noun phrases that complete "with ..." (in the scent voice: an accord of notes).
    facts
        Sentences on how it is made.
    moments
        Sentences on when, and by whom, it is used.
    voice
        See `Voice`.
    plural
        Whether the nouns name a pair ("boots").
    follows
        Keys of the kinds that clients tend to take next, in the same collection where possible.
    """

    key: str
    family: tuple[str, ...]
    nouns: tuple[str, ...]
    houses: tuple[str, ...]
    prices: tuple[int, int]
    looks: tuple[tuple[str, tuple[str, ...]], ...]
    details: tuple[str, ...]
    facts: tuple[str, ...]
    moments: tuple[str, ...]
    voice: Voice = "made"
    plural: bool = False
    follows: tuple[str, ...] = ()


@dataclass(frozen=True)
class Theme:
    """A family of kinds that appeal to the same taste, with the names of its collections."""

    key: str
    collections: tuple[str, ...]
    kinds: tuple[Kind, ...]
