"""Identifiers of the clients to erase, and where they stand in text whose structure says nothing of clients."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import BinaryIO

#: An identifier stands in a text only as a whole word: ``C-100`` is neither in ``C-1001`` nor in ``C-100-B``.
_WORD = rb"[0-9A-Za-z_\x80-\xff]"
_JOINT = b"-.@+"
_TOKEN = re.compile(_WORD + rb"+(?:[\-.@+]" + _WORD + rb"+)*")
_ONE_WORD = re.compile(_WORD)
#: Escapes of line ends and tabs, as JSON has them: their letter would be taken for the begin of a word.
_ESCAPED_BLANKS = re.compile(rb"\\[nrt]")
#: What ingest trims from an identifier.
_BLANKS = " \t\r\n\u00a0"
_SHORTEST = 6
#: Up to so many spellings are searched for one by one, which is faster than a look at each word.
_FEW = 64
_BLOCK_BYTES = 8 << 20
#: Stands where an identifier stood.
ERASED = b"[erased]"


def clean_identifiers(given: Iterable[str]) -> tuple[str, ...]:
    """Identifiers without blanks around them, as ingest reads them; each once, without empty ones."""
    trimmed = (identifier.strip(_BLANKS) for identifier in given)
    return tuple(dict.fromkeys(identifier for identifier in trimmed if identifier))


def is_distinctive(identifier: str) -> bool:
    """Whether text that equals ``identifier`` stands for it and not for a number, a word or a size.

    True from six characters on, with a letter, and a digit or a sign such as ``-`` or ``@``: ``CL-40233`` is, ``12``,
    ``20260630`` and ``purchase`` are not.
    """
    letters = any(character.isalpha() for character in identifier)
    others = any(not character.isalpha() and character not in "_ " for character in identifier)
    return len(identifier) >= _SHORTEST and letters and others


def spellings(identifier: str) -> set[str]:
    """How ``identifier`` stands in plain text, JSON (escaped once and twice), HTML and CSV."""
    as_json = json.dumps(identifier)[1:-1]
    return {
        identifier,
        as_json,
        json.dumps(as_json)[1:-1],
        json.dumps(identifier, ensure_ascii=False)[1:-1],
        html.escape(identifier),
        # Jinja writes the quote signs as numbers.
        html.escape(identifier, quote=False).replace('"', "&#34;").replace("'", "&#39;"),
        identifier.replace('"', '""'),
    }


@dataclass(frozen=True)
class _Found:
    start: int
    end: int
    identifier: str


class TextSearch:
    """Finds identifiers in bytes, each as a whole word and in all its spellings.

    Parameters
    ----------
    identifiers
        What to look for; those that are not distinctive would be found by chance.
    """

    def __init__(self, identifiers: Iterable[str]) -> None:
        self._identifiers = frozenset(identifiers)
        forms = {
            spelling.encode("utf-8", "surrogatepass"): identifier
            for identifier in sorted(self._identifiers)
            for spelling in spellings(identifier)
        }
        many = len(forms) > _FEW
        #: Spellings that are one word, where there are many: words are looked up, so that their number costs no time.
        self._words = {form: forms[form] for form in forms if many and _TOKEN.fullmatch(form)}
        #: Others, each searched for by itself.
        self._others = {form: forms[form] for form in forms if form not in self._words}
        longest = max((len(form) for form in forms), default=0)
        #: More than one form and the signs that decide where it ends.
        self._overlap = 2 * longest + 16

    def __bool__(self) -> bool:
        """Whether there is anything to look for."""
        return bool(self._identifiers)

    def looks_for(self, identifier: str) -> bool:
        """Whether ``identifier`` is among what is looked for."""
        return identifier in self._identifiers

    def in_bytes(self, data: bytes) -> set[str]:
        """Identifiers that stand in ``data``."""
        return {found.identifier for found in self._all(data)}

    def in_stream(self, stream: BinaryIO) -> set[str]:
        """Identifiers that stand in what ``stream`` gives, read in blocks."""
        if not self:
            return set()
        identifiers: set[str] = set()
        kept, first = b"", True
        block = stream.read(_BLOCK_BYTES)
        while block:
            following = stream.read(_BLOCK_BYTES)
            data = kept + block
            for found in self._all(data):
                # What touches a cut may be part of a longer word; the blocks overlap, so it is whole in one of them.
                if (first or found.start > 2) and (not following or found.end < len(data) - 2):
                    identifiers.add(found.identifier)
            kept, block, first = data[-self._overlap :], following, False
        return identifiers

    def redacted(self, data: bytes) -> tuple[bytes, int]:
        """``data`` with :data:`ERASED` in place of each identifier, and how many were replaced."""
        parts, done, count = [], 0, 0
        for found in sorted(self._all(data), key=lambda found: (found.start, -found.end)):
            if found.start < done:
                continue
            parts += [data[done : found.start], ERASED]
            done, count = found.end, count + 1
        return (b"".join([*parts, data[done:]]), count) if count else (data, 0)

    def _all(self, data: bytes) -> Iterator[_Found]:
        yield from self._once(data)
        if b"\\" in data:
            yield from self._once(_ESCAPED_BLANKS.sub(b"  ", data))

    def _once(self, data: bytes) -> Iterator[_Found]:
        # Most texts hold none of them, and that is said without a look at each word.
        if self._words and not self._words.keys().isdisjoint(_TOKEN.findall(data)):
            for token in _TOKEN.finditer(data):
                identifier = self._words.get(token.group())
                if identifier is not None:
                    yield _Found(token.start(), token.end(), identifier)
        for form, identifier in self._others.items():
            start = data.find(form)
            while start >= 0:
                end = start + len(form)
                if not (
                    _joined(data[max(start - 2, 0) : start][::-1], form[:1])
                    or _joined(data[end : end + 2], form[-1:])
                ):
                    yield _Found(start, end, identifier)
                start = data.find(form, start + 1)


def _joined(outside: bytes, edge: bytes) -> bool:
    """Whether a word goes on beyond its edge: ``outside`` are the two bytes there, the nearer one first."""
    if not _ONE_WORD.match(edge):
        return False
    if _ONE_WORD.match(outside[:1]):
        return True
    return outside[:1] in [bytes([joint]) for joint in _JOINT] and bool(_ONE_WORD.match(outside[1:2]))
