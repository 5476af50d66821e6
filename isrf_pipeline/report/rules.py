"""Orders what the business rules did into what the report shows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

#: What is compared with the rules and without: name in ops.metrics, and what it tells.
_COMPARED = (
    ("NDCG@10", "Accuracy, NDCG@10"),
    ("HR@10", "Accuracy, hit rate at ten"),
    ("diversity@10", "Diversity within a list"),
    ("coverage@10", "Share of the catalogue shown"),
    ("novelty@10", "Novelty, in bits"),
)
_MEANINGS = {
    "availability": "Not available",
    "exclusions": "On an exclusion list",
    "client_exclusions": "Excluded for the client",
    "already_bought": "Bought already",
    "replenishable": "Bought, and offered again",
    "price_band": "Outside of the client's price band",
    "house_cap": "Beyond the cap of a house",
    "new_arrivals": "Quota of new arrivals",
    "diversity": "Diversity within the list",
}
_CATEGORY_CAP = "category_cap_"


@dataclass(frozen=True)
class RuleFigure:
    """What one rule did.

    Attributes
    ----------
    name
        Name in ops.metrics.
    meaning
        What it is, for people.
    withheld
        Recommendations that it kept out of lists.
    given
        Places that it gave.
    clients
        Clients with either.
    """

    name: str
    meaning: str
    withheld: int
    given: int
    clients: int


@dataclass(frozen=True)
class RulesFigures:
    """What the rules did together.

    Attributes
    ----------
    rules
        In the order of their application.
    plain_places
        Places of the lists that the model would have given without any rule.
    clients_affected
        Clients whose list differs from that one.
    short_lists
        Clients whose list is shorter.
    new_arrival_places, quota_unmet
        Places that new arrivals have, and clients with fewer of them than asked; None without a quota.
    unknown_values
        Values of the rules that mean nothing in the catalogue.
    compared
        (measure, without rules, with rules); empty where it was not measured.
    """

    rules: tuple[RuleFigure, ...] = ()
    plain_places: int = 0
    clients_affected: int = 0
    short_lists: int = 0
    new_arrival_places: int | None = None
    quota_unmet: int | None = None
    unknown_values: int = 0
    compared: tuple[tuple[str, float, float], ...] = ()


def rules_figures(measured: Mapping[tuple[str, str], float]) -> RulesFigures:
    """Figures out of (metric, slice) to value of ops.metrics; without ``rules.<measure>`` nothing was counted."""

    def whole(measure: str, slice_: str = "all") -> int:
        return int(measured.get((f"rules.{measure}", slice_), 0))

    def if_measured(measure: str) -> int | None:
        return whole(measure) if (f"rules.{measure}", "all") in measured else None

    names = [slice_ for metric, slice_ in measured if metric == "rules.withheld"]
    compared = []
    for name, meaning in _COMPARED:
        without = measured.get((f"rules.measured.without_rules.{name}", "all"))
        with_ = measured.get((f"rules.measured.with_rules.{name}", "all"))
        if without is not None and with_ is not None:
            compared.append((meaning, without, with_))
    return RulesFigures(
        tuple(
            RuleFigure(
                name,
                _meaning(name),
                whole("withheld", name),
                whole("places_given", name),
                whole("clients_affected", name),
            )
            for name in sorted(names, key=_order)
        ),
        whole("plain_places"),
        whole("clients_affected"),
        whole("short_lists"),
        if_measured("new_arrival_places"),
        if_measured("quota_unmet"),
        sum(int(value) for (metric, _), value in measured.items() if metric == "rules.unknown_values"),
        tuple(compared),
    )


def _meaning(name: str) -> str:
    if name.startswith(_CATEGORY_CAP):
        return f"Beyond the cap of a category, level {name.removeprefix(_CATEGORY_CAP)}"
    return _MEANINGS.get(name, name)


def _order(name: str) -> tuple[int, int]:
    """Order of application; ops.metrics has no order."""
    places = {rule: place for place, rule in enumerate(_MEANINGS)}
    if name.startswith(_CATEGORY_CAP):
        return places["house_cap"], int(name.removeprefix(_CATEGORY_CAP))
    return places.get(name, len(places)), 0
