"""Small synthetic research sets in the format of the public benchmark data, for tests."""

from __future__ import annotations

import csv
import datetime
import gzip
import io
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from isrf_pipeline.errors import UsageError

MIN_EVENTS = 5
"""Events of every user at least, as in the 5-core sets."""

_MAX_EVENTS = 30
_FOLLOW_SHARE = 0.6
_OWN_SHARE = 0.85
_FIRST_DAY = datetime.date(2012, 1, 1)
_DAYS = 900
_ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"

# path of categories, brands, nouns
_TOPICS: tuple[tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]], ...] = (
    (("Garden", "Tools", "Pruning"), ("Oakfern", "Brackwell"), ("secateurs", "loppers", "pruning saw")),
    (("Garden", "Watering", "Hoses"), ("Rillstone", "Brackwell"), ("hose reel", "spray gun", "watering can")),
    (("Kitchen", "Baking", "Tins"), ("Mellowdale", "Cobnut"), ("loaf tin", "muffin tray", "cake ring")),
    (("Kitchen", "Coffee", "Brewing"), ("Tallgrind", "Cobnut"), ("pour-over set", "hand grinder", "kettle")),
    (("Outdoor", "Camping", "Sleeping"), ("Larkridge", "Fellwind"), ("sleeping mat", "bivvy bag", "hammock")),
    (
        ("Outdoor", "Cycling", "Lights"),
        ("Velomere", "Fellwind"),
        ("front light", "rear light", "dynamo lamp"),
    ),
    (("Craft", "Knitting", "Yarn"), ("Woolcombe", "Threadle"), ("sock yarn", "chunky yarn", "needle set")),
    (("Craft", "Drawing", "Ink"), ("Quillam", "Threadle"), ("fineliner set", "brush pen", "ink bottle")),
)
_QUALIFIERS = ("classic", "compact", "large", "light", "sturdy", "fine", "everyday", "travel", "starter")


@dataclass(frozen=True)
class _Plan:
    """The planted structure: topic of each item, its usual successor, and its pull."""

    topics: np.ndarray[tuple[int], np.dtype[np.int64]]
    successors: np.ndarray[tuple[int], np.dtype[np.int64]]
    popularity: np.ndarray[tuple[int], np.dtype[np.float64]]


def generate_research_set(directory: Path, *, users: int, items: int, seed: int) -> None:
    """Write ``interactions.csv.gz`` and ``items.jsonl.gz`` into `directory`.

    Items belong to topics, and within a topic each item has one usual successor, on a cycle through the
    topic. A user keeps to one topic mostly and takes the successor of the last item in about 60 % of the
    steps. Every user has at least five distinct items, in the order of `position`; every item occurs. The
    same arguments give the same bytes.

    Parameters
    ----------
    directory
        Folder of the two files; created when missing.
    users
        Number of users, at least 1.
    items
        Number of items, at least 10 and at most 10 a user, so that every one of them can occur.
    seed
        Seed of everything random, at least 0.

    Raises
    ------
    UsageError
        When an argument is out of range.
    """
    for name, value, low, high in (
        ("users", users, 1, None),
        ("items", items, 10, 10 * users),
        ("seed", seed, 0, None),
    ):
        if value < low or (high is not None and value > high):
            bounds = f"at least {low}" + ("" if high is None else f" and at most {high}")
            raise UsageError(f"{name}={value}", f"a research set takes {bounds}", f"change {name}")
    rng = np.random.default_rng([seed, users, items])
    plan = _plan(items, rng)
    sequences = _sequences(users, plan, rng)
    item_ids = _identifiers("B", 9, items, rng)
    user_ids = _identifiers("A", 12, users, rng)
    directory.mkdir(parents=True, exist_ok=True)
    _write_gzip(directory / "interactions.csv.gz", _interactions(user_ids, item_ids, sequences, rng))
    _write_gzip(directory / "items.jsonl.gz", _items(item_ids, plan, rng))


def _plan(items: int, rng: np.random.Generator) -> _Plan:
    # Topics of at least five items, so that a user's walk does not run out at once.
    topics = rng.permutation(np.arange(items) % max(1, min(len(_TOPICS), items // MIN_EVENTS)))
    successors = np.zeros(items, dtype=np.int64)
    for topic in np.unique(topics):
        members = rng.permutation(np.flatnonzero(topics == topic))
        successors[members] = np.roll(members, -1)
    return _Plan(topics, successors, rng.lognormal(0.0, 0.8, items))


def _sequences(users: int, plan: _Plan, rng: np.random.Generator) -> list[list[int]]:
    items = len(plan.topics)
    topic_count = int(plan.topics.max()) + 1
    everything = np.cumsum(plan.popularity)
    by_topic = [np.cumsum(plan.popularity * (plan.topics == topic)) for topic in range(topic_count)]
    sequences = []
    for _ in range(users):
        own = by_topic[int(rng.integers(topic_count))]
        length = min(items, _MAX_EVENTS, MIN_EVENTS + int(rng.geometric(0.25)) - 1)
        sequence: list[int] = []
        while len(sequence) < length:
            if sequence and rng.random() < _FOLLOW_SHARE:
                item = int(plan.successors[sequence[-1]])
            else:
                weights = own if rng.random() < _OWN_SHARE else everything
                draw = rng.random() * weights[-1]
                item = min(int(np.searchsorted(weights, draw, side="right")), items - 1)
            # Taken items are passed over; the draws from everything see to it that the walk ends.
            if item not in sequence:
                sequence.append(item)
        sequences.append(sequence)
    _place_unseen(sequences, items, plan, rng)
    return sequences


def _place_unseen(sequences: list[list[int]], items: int, plan: _Plan, rng: np.random.Generator) -> None:
    """Put every item that nobody took after its predecessor where somebody has that, else anywhere."""
    seen = {item for sequence in sequences for item in sequence}
    predecessors = np.argsort(plan.successors)
    for item in range(items):
        if item in seen:
            continue
        holders = [sequence for sequence in sequences if int(predecessors[item]) in sequence]
        chosen = (holders or sequences)[int(rng.integers(len(holders or sequences)))]
        place = chosen.index(int(predecessors[item])) + 1 if holders else int(rng.integers(len(chosen) + 1))
        chosen.insert(place, item)


def _identifiers(prefix: str, length: int, count: int, rng: np.random.Generator) -> list[str]:
    """Distinct identifiers that look like those of the public sets and carry no order."""
    chosen: dict[str, None] = {}
    while len(chosen) < count:
        digits = rng.integers(len(_ALPHABET), size=length)
        chosen[prefix + "".join(_ALPHABET[digit] for digit in digits)] = None
    return list(chosen)


def _interactions(
    user_ids: list[str], item_ids: list[str], sequences: list[list[int]], rng: np.random.Generator
) -> str:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(("user_id", "item_id", "position", "event_date", "date_imputed"))
    for user, sequence in zip(user_ids, sequences, strict=True):
        days = np.sort(rng.integers(0, _DAYS, len(sequence)))
        same_day = rng.random(len(sequence)) < 0.3
        imputed = rng.random(len(sequence)) < 0.02
        for place in range(1, len(sequence)):
            if same_day[place] or imputed[place]:
                days[place] = days[place - 1]
        for place, item in enumerate(sequence):
            day = _FIRST_DAY + datetime.timedelta(days=int(days[place]))
            flag = int(place > 0 and imputed[place])
            writer.writerow((user, item_ids[item], place + 1, day.isoformat(), flag))
    return out.getvalue()


def _items(item_ids: list[str], plan: _Plan, rng: np.random.Generator) -> str:
    lines = []
    for number, item in enumerate(item_ids):
        path, brands, nouns = _TOPICS[int(plan.topics[number])]
        brand = brands[int(rng.integers(len(brands)))]
        noun = nouns[int(rng.integers(len(nouns)))]
        qualifier = _QUALIFIERS[int(rng.integers(len(_QUALIFIERS)))]
        blank = rng.random(3)
        row = {
            "item_id": item,
            "title": f"{brand} {qualifier.capitalize()} {noun.title()}, Model {number + 1}"
            if blank[0] > 0.01
            else None,
            "brand": brand if blank[1] > 0.15 else None,
            "categories": [list(path)],
            "price": round(float(rng.lognormal(3.0, 0.6)), 2) if blank[2] > 0.05 else None,
            "keyphrases": f"{brand.lower()} {qualifier} {noun}",
        }
        lines.append(json.dumps(row, ensure_ascii=False))
    return "\n".join(lines) + "\n"


def _write_gzip(path: Path, text: str) -> None:
    # Neither a name nor a time in the header: the bytes depend on the text alone.
    path.write_bytes(gzip.compress(text.encode(), mtime=0))
