"""How clients are named: columns and keys that hold an identifier, and whom a value there means."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from isrf_pipeline.erasure.identifiers import TextSearch
from isrf_pipeline.lake.schema import ClientReference

#: Column or key to how it names a client.
ClientColumns = Mapping[str, Collection[ClientReference]]

#: Columns and keys of files that are no tables of the lake, compared without regard to case, blanks, ``_`` and ``-``.
CLIENT_NAMES: frozenset[str] = frozenset(
    (
        *("userid", "clientid", "customerid", "contactid", "profileid", "personid", "externalid", "uniqueid"),
        *("subscriberkey", "contactkey", "customerkey", "user", "client", "subject"),
    )
)
#: Those that hold a hash of the identifier, as the star schema for BI does.
HASHED_NAMES: frozenset[str] = frozenset(("clientkey",))
_WHOLE_NUMBER = re.compile(r"-?\d{1,20}")
_PLAIN, _HASHED = ClientReference(), ClientReference(hashed=True)


@dataclass(frozen=True)
class Wanted:
    """Whom to look for.

    Attributes
    ----------
    identifiers
        All of them: compared with whole values of columns that name clients.
    text
        Finds those that may be looked for in text.
    hashes
        Spark's xxhash64 of each identifier, and whose it is.
    """

    identifiers: frozenset[str]
    text: TextSearch
    hashes: Mapping[int, str] = field(default_factory=dict)

    def named(self, value: str, references: Iterable[ClientReference]) -> set[str]:
        """Who is named by a whole value of a column or key."""
        found = set()
        for reference in references:
            if reference.hashed:
                identifier = self.hashes.get(int(value)) if _WHOLE_NUMBER.fullmatch(value) else None
            else:
                plain = value.removeprefix(reference.prefix)
                fits = value.startswith(reference.prefix) and plain in self.identifiers
                identifier = plain if fits else None
            if identifier is not None:
                found.add(identifier)
        return found


def references_by_name(name: str) -> Collection[ClientReference]:
    """How a column or key of a file that is no table of the lake names a client, as its own name tells."""
    folded = re.sub(r"[ _-]", "", name.casefold())
    if folded in HASHED_NAMES:
        return (_PLAIN, _HASHED)
    return (_PLAIN,) if folded in CLIENT_NAMES else ()


def references_of(name: str, columns: ClientColumns | None) -> Collection[ClientReference]:
    """How a value names a client of which nobody knows the row: where that depends on the row, it counts as nobody."""
    if columns is None:
        return references_by_name(name)
    return [reference for reference in columns.get(name, ()) if reference.when is None]


def client_values(content: Any, columns: ClientColumns | None = None) -> Iterator[tuple[str, str]]:
    """(key, value) of all strings under keys that name a client, at any depth, also in JSON that is a string itself."""
    if isinstance(content, dict):
        for key, value in content.items():
            if isinstance(value, str):
                if references_of(key, columns):
                    yield key, value
                if value[:1] in ("{", "["):
                    try:
                        yield from client_values(json.loads(value), columns)
                    except ValueError:
                        continue
            elif isinstance(value, int) and not isinstance(value, bool) and references_of(key, columns):
                yield key, str(value)
            else:
                yield from client_values(value, columns)
    elif isinstance(content, list):
        for value in content:
            yield from client_values(value, columns)
