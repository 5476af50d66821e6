"""What clients did: views, wishes and purchases over the 18 months before the run."""

from __future__ import annotations

import datetime
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from isrf_pipeline.demo.articles import Catalogue
from isrf_pipeline.demo.clients import Client
from isrf_pipeline.demo.tastes import Group, group_affinity

WINDOW_DAYS = 548
"""Eighteen months."""

_GROUP_SHARE = 0.79
"""Of draws that are not a continuation; popularity brings back some of the rest to the group's themes."""

_PERSONAL_SHARE = 0.11
_SUCCESSOR_SHARE = 0.38
_REPEAT_SHARE = 0.07
_NO_EVENTS = 0.015
_COLD = 0.07
_DEVICES = ("mobile", "desktop", "tablet", "boutique-ipad")
_DEVICE_WEIGHTS = (0.55, 0.3, 0.08, 0.07)


@dataclass(frozen=True)
class Event:
    """One event; `kind` is "purchase", "wishlist" or "view", `device` is set for views only."""

    client: str
    article: str
    at: datetime.datetime
    kind: str
    qty: int = 0
    amount: float = 0.0
    device: str = ""


def build_events(
    catalogue: Catalogue,
    clients: tuple[Client, ...],
    groups: tuple[Group, ...],
    run_date: datetime.date,
    rng: np.random.Generator,
) -> list[Event]:
    """All events in order of time, each after its article's launch and before the day of the run.

    Three things drive a client's next article: what usually follows the last one (a shirt after a suit), the
    group's taste, and what is personal or merely popular.
    """
    end = datetime.datetime.combine(run_date, datetime.time(), tzinfo=datetime.UTC)
    walker = _Walker(catalogue, groups, end, rng)
    counts = _event_counts(len(clients), rng)
    steps = [
        (client.ref, moment, row)
        for client, count in zip(clients, counts, strict=True)
        for moment, row in walker.walk(client, int(count))
    ]
    steps.sort(key=lambda step: (step[1], step[0]))
    kinds = _event_kinds(catalogue.prices[[row for _, _, row in steps]], rng)
    events = []
    for (ref, moment, row), kind in zip(steps, kinds, strict=True):
        at = end - datetime.timedelta(seconds=WINDOW_DAYS * 86_400 - moment)
        article = catalogue.articles[row]
        if kind == "purchase":
            qty = 2 if article.price < 300 and rng.random() < 0.12 else 1
            discount = float(rng.choice((1.0, 0.9, 0.8), p=(0.9, 0.06, 0.04)))
            amount = round(article.price * qty * discount, 2)
            events.append(Event(ref, article.code, at, kind, qty=qty, amount=amount))
        elif kind == "view":
            device = _DEVICES[int(rng.choice(len(_DEVICES), p=_DEVICE_WEIGHTS))]
            events.append(Event(ref, article.code, at, kind, device=device))
        else:
            events.append(Event(ref, article.code, at, kind))
    return events


def _event_counts(clients: int, rng: np.random.Generator) -> npt.NDArray[np.int64]:
    """10 to 25 events for most; a few clients with one or two, and at least one (of 20 or more) with none."""
    counts = rng.integers(10, 26, clients)
    order = rng.permutation(clients)
    none = max(round(_NO_EVENTS * clients), 1 if clients >= 20 else 0)
    cold = max(round(_COLD * clients), 1 if clients >= 20 else 0)
    counts[order[:none]] = 0
    counts[order[none : none + cold]] = rng.integers(1, 3, cold)
    return counts


def _event_kinds(prices: npt.NDArray[np.float64], rng: np.random.Generator) -> list[str]:
    """About 35 % purchases, 20 % wishes and 45 % views; what is dear is looked at more and bought less."""
    if not len(prices):
        return []
    logs = np.log(prices)
    buys = np.clip(0.35 - 0.06 * (logs - logs.mean()), 0.1, 0.6)
    draws = rng.random(len(prices))
    wishes = buys + (1 - buys) * 0.2 / 0.65
    kinds: list[str] = np.where(
        draws < buys, "purchase", np.where(draws < wishes, "wishlist", "view")
    ).tolist()
    return kinds


class _Walker:
    """Draws the articles of one client after the other.

    Articles are kept in order of launch, so that those on sale at a moment are a prefix and one cumulative
    sum for each client serves all moments.
    """

    def __init__(
        self,
        catalogue: Catalogue,
        groups: tuple[Group, ...],
        end: datetime.datetime,
        rng: np.random.Generator,
    ) -> None:
        self._rng = rng
        start = (end - datetime.timedelta(days=WINDOW_DAYS)).date()
        launched = np.array([(article.launched - start).days for article in catalogue.articles])
        self._order = np.argsort(launched, kind="stable")
        self._launch_seconds = launched[self._order] * 86_400
        self._launch_by_row = launched * 86_400
        self._successors = catalogue.successors
        articles = [catalogue.articles[row] for row in self._order]
        self._houses = np.array([article.house for article in articles])
        self._materials = np.array([article.material for article in articles])
        self._themes = np.array([article.theme for article in articles])
        self._popularity = catalogue.popularity[self._order]
        self._popular = np.cumsum(self._popularity)
        self._affinity = group_affinity(catalogue, groups)[self._order]

    def walk(self, client: Client, count: int) -> list[tuple[int, int]]:
        """Moments (seconds into the window) and rows of the articles, oldest first."""
        if not count:
            return []
        own = np.where(np.isin(self._houses, client.favourite_houses), 2.0, 1.0)
        own *= np.where(np.isin(self._materials, client.favourite_materials), 3.0, 1.0)
        taste = np.cumsum(self._popularity * own * self._affinity[:, client.group])
        personal = np.cumsum(self._popularity * (self._themes == client.personal_theme))
        steps: list[tuple[int, int]] = []
        taken: set[int] = set()
        for moment in self._moments(count):
            row = self._next(moment, steps[-1][1] if steps else -1, taken, taste, personal)
            if row >= 0:
                steps.append((moment, row))
                taken.add(row)
        return steps

    def _moments(self, count: int) -> list[int]:
        """Distinct moments, some of them minutes after the one before: the same visit."""
        last = WINDOW_DAYS * 86_400 - 1
        starts = np.sort(self._rng.integers(0, last - 86_400, count))
        same_visit = self._rng.random(count) < 0.3
        gaps = self._rng.integers(40, 1800, count)
        moments: list[int] = []
        for start, same, gap in zip(starts.tolist(), same_visit.tolist(), gaps.tolist(), strict=True):
            if not moments:
                moments.append(start)
            elif same:
                moments.append(moments[-1] + gap)
            else:
                moments.append(max(start, moments[-1] + gap))
        return [moment for moment in moments if moment < last]

    def _next(
        self,
        moment: int,
        last: int,
        taken: set[int],
        taste: npt.NDArray[np.float64],
        personal: npt.NDArray[np.float64],
    ) -> int:
        if last >= 0:
            draw = self._rng.random()
            if draw < _REPEAT_SHARE:
                return last
            follower = int(self._successors[last])
            if (
                draw < _REPEAT_SHARE + _SUCCESSOR_SHARE
                and follower >= 0
                and follower not in taken
                and self._launch_by_row[follower] <= moment
            ):
                return follower
        on_sale = int(np.searchsorted(self._launch_seconds, moment, side="right"))
        draw = self._rng.random()
        if draw < _GROUP_SHARE:
            weights = taste
        elif draw < _GROUP_SHARE + _PERSONAL_SHARE:
            weights = personal
        else:
            weights = self._popular
        row = -1
        # A few tries for something new; in a small catalogue a client may well come back to an old choice.
        for _ in range(8):
            row = self._draw(weights, on_sale)
            if row not in taken:
                break
        return row

    def _draw(self, cumulative: npt.NDArray[np.float64], on_sale: int) -> int:
        """One of the first `on_sale` articles by weight, by popularity where none has any; -1 if none is."""
        if not on_sale:
            return -1
        if cumulative[on_sale - 1] <= 0:
            cumulative = self._popular
        draw = self._rng.random() * cumulative[on_sale - 1]
        place = int(np.searchsorted(cumulative[:on_sale], draw, side="right"))
        return int(self._order[min(place, on_sale - 1)])
