"""Dirty rows of every kind, each breaking one rule only, to be appended to clean files."""

from __future__ import annotations

import datetime
import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

Rule = Literal[
    "missing_id",
    "unknown_item",
    "impossible_timestamp",
    "future_timestamp",
    "negative_price",
    "duplicate",
    "overlong_text",
    "wrong_encoding",
    "malformed_row",
]
RULES: tuple[Rule, ...] = get_args(Rule)

Row = dict[str, object]

MAX_TEXT = 10_000
"""Characters above which a description is overlong."""

_MOST_OF_A_RULE = 5
_UNPARSABLE = ("last Tuesday", "1900-01-01T00:00:00Z", "2025-13-45T25:61:00Z", "0000-00-00 00:00:00", "n/a")


@dataclass(frozen=True)
class DirtyRow:
    """A row that breaks `rule`: a mapping, or bytes where the line itself is broken."""

    rule: Rule
    row: Row | bytes


@dataclass(frozen=True)
class EventColumns:
    """Names of the columns of one event file; `amount` is empty where events carry no amount."""

    client: str
    article: str
    at: str
    amount: str = ""


def count_rules(dirty: Sequence[DirtyRow]) -> dict[str, int]:
    """Number of dirty rows by rule, in the order of `RULES`, without rules that none breaks."""
    counts = Counter(row.rule for row in dirty)
    return {rule: counts[rule] for rule in RULES if counts[rule]}


def json_line(row: Row) -> bytes:
    """One line of a JSONL file, newline included."""
    return json.dumps(row, ensure_ascii=False).encode() + b"\n"


def mojibake(text: str) -> str:
    """UTF-8 read as Windows-1252, the usual accident on the way through a spreadsheet."""
    return text.encode().decode("cp1252", errors="replace").replace("\ufffd", "")


def dirty_articles(clean: Sequence[Row], rng: np.random.Generator) -> list[DirtyRow]:
    """Nine rows, always: a catalogue is small, and one of each kind shows the point."""
    sources = [dict(clean[int(index)]) for index in rng.permutation(len(clean))[:9]]

    def fresh(number: int) -> Row:
        """A complete row under a code that nothing else bears."""
        row = sources[number]
        return {**row, "article_code": f"NEW-{90_000 + number}"}

    overlong = fresh(3)
    text = str(overlong["description"])
    accented = "Édition limitée – "
    latin = {**fresh(7), "title": "Édition limitée"}
    return [
        DirtyRow("missing_id", {**sources[0], "article_code": None}),
        DirtyRow("negative_price", {**fresh(1), "retail_price": -_number(sources[1]["retail_price"])}),
        DirtyRow("duplicate", {**sources[2], "title": f"{sources[2]['title']} (copy)", "retail_price": 1.0}),
        DirtyRow("overlong_text", {**overlong, "description": (text + " ") * (MAX_TEXT // len(text) + 1)}),
        DirtyRow("wrong_encoding", {**fresh(4), "title": f"\ufffddition limit\ufffde {sources[4]['title']}"}),
        DirtyRow("wrong_encoding", {**fresh(5), "title": mojibake(accented) + str(sources[5]["title"])}),
        DirtyRow("wrong_encoding", {**fresh(6), "description": f"{sources[6]['description']}\x00\x07"}),
        DirtyRow("wrong_encoding", _ascii_safe(latin).encode("latin-1") + b"\n"),
        DirtyRow("malformed_row", _cut(fresh(8))),
    ]


def dirty_clients(clean: Sequence[Row], rng: np.random.Generator) -> list[DirtyRow]:
    """Clients without a reference, clients met before, and names damaged on the way."""
    each = _rows_per_rule(len(clean))
    base = _bases(clean, 3 * each, rng)
    unused = iter(range(100_000 + len(clean), 100_000 + len(clean) + each))
    dirty = [DirtyRow("missing_id", {**base(), "client_ref": ""}) for _ in range(each)]
    for number in range(each):
        row = base()
        # One in two is an exact copy, the other a later and different version.
        dirty.append(DirtyRow("duplicate", row if number % 2 else {**row, "city": "Monaco", "tier": "Noir"}))
    for number in range(each):
        row = {**base(), "client_ref": f"C{next(unused)}"}
        row["city"] = mojibake("Genève") if number % 2 else "Gen\ufffdve"
        dirty.append(DirtyRow("wrong_encoding", row))
    return dirty


def dirty_events(
    clean: Sequence[Row],
    columns: EventColumns,
    run_date: datetime.date,
    rng: np.random.Generator,
    *,
    as_json: bool = False,
    real_timestamps: bool = False,
) -> list[DirtyRow]:
    """Dirty events of one file, made from clean ones of the same file.

    Parameters
    ----------
    clean
        All clean rows of the file.
    columns
        The file's column names.
    run_date
        Day after which an event lies in the future.
    rng
        Source of randomness.
    as_json
        Whether the file holds JSON lines, some of which then do not parse.
    real_timestamps
        Whether moments are typed, so that the only impossible ones are those of 1900.
    """
    each = _rows_per_rule(len(clean))
    base = _bases(clean, 7 * each, rng)
    morning = datetime.datetime.combine(run_date, datetime.time(9), tzinfo=datetime.UTC)
    dirty: list[DirtyRow] = []
    for number in range(each):
        row = base()
        row[columns.article if number % 2 else columns.client] = None if as_json or real_timestamps else ""
        dirty.append(DirtyRow("missing_id", row))
    for number in range(each):
        dirty.append(DirtyRow("unknown_item", {**base(), columns.article: f"OLD-{70_000 + number}"}))
    for number in range(each):
        row = base()
        row[columns.at] = (
            datetime.datetime(1900, 1, 2, 12, number, tzinfo=datetime.UTC)
            if real_timestamps
            else _UNPARSABLE[number % len(_UNPARSABLE)]
        )
        dirty.append(DirtyRow("impossible_timestamp", row))
    for _ in range(each):
        at = morning + datetime.timedelta(days=int(rng.integers(3, 60)), minutes=int(rng.integers(600)))
        dirty.append(DirtyRow("future_timestamp", {**base(), columns.at: at if real_timestamps else iso(at)}))
    if columns.amount:
        for _ in range(each):
            row = base()
            dirty.append(DirtyRow("negative_price", {**row, columns.amount: -_number(row[columns.amount])}))
    dirty.extend(DirtyRow("duplicate", base()) for _ in range(each))
    if as_json:
        dirty.extend(DirtyRow("malformed_row", _cut(base())) for _ in range(each))
    return dirty


def iso(moment: datetime.datetime) -> str:
    """ISO 8601 in UTC, to the second."""
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def _rows_per_rule(rows: int) -> int:
    """At least one, at most five, and about one in a thousand: seven rules stay below 1 % of a large file."""
    return int(np.clip(round(rows / 1000), 1, _MOST_OF_A_RULE))


def _bases(clean: Sequence[Row], count: int, rng: np.random.Generator) -> Callable[[], Row]:
    """Deal copies of different clean rows, so that no two dirty rows are duplicates of each other."""
    if len(clean) < count:
        raise ValueError(f"{count} different clean rows are needed, {len(clean)} given")
    deck = iter(rng.permutation(len(clean))[:count].tolist())
    return lambda: dict(clean[next(deck)])


def _cut(row: Row) -> bytes:
    """The first half of a JSON line, as a writer that died would leave it."""
    line = json_line(row)
    # Cut among ASCII, so that the line breaks the rule for JSON and not the one for text.
    half = line[: len(line) // 2].decode(errors="ignore")
    return half.encode() + b"\n"


def _ascii_safe(row: Row) -> str:
    """JSON text whose only characters beyond ASCII are those that Latin-1 and UTF-8 write differently."""
    return json.dumps(row, ensure_ascii=False).encode("latin-1", errors="ignore").decode("latin-1")


def _number(value: object) -> float:
    if not isinstance(value, int | float):
        raise TypeError(f"not a number: {value!r}")
    return float(value)
