"""Which articles a list of houses, categories or attribute values means, and which of its values mean none."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import reduce
from typing import TYPE_CHECKING

from isrf_pipeline.config.rules_settings import RulesSettings
from isrf_pipeline.ingest.sources import nearest
from isrf_pipeline.logs import log_event

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

#: Stands between the parts of a category path, in settings and in the warning's text.
_STEP = " > "


def matches(
    items: Sequence[str] = (),
    houses: Sequence[str] = (),
    categories: Sequence[str] = (),
    attributes: Mapping[str, Sequence[str]] | None = None,
) -> Column:
    """Whether a row of silver.items is meant by any of the values; never null.

    Parameters
    ----------
    items
        Identifiers.
    houses
        Values of ``brand``.
    categories
        Each a part of the path at any level, or the beginning of a path, its parts joined by `` > ``.
    attributes
        Values by attribute.
    """
    from pyspark.sql import functions as F

    conditions: list[Column] = []
    if items:
        conditions.append(F.col("item_id").isin(list(items)))
    if houses:
        conditions.append(F.col("brand").isin(list(houses)))
    path = F.array_join("categories", _STEP)
    for category in map(_as_path, categories):
        conditions += [
            F.array_contains("categories", category),
            path == category,
            path.startswith(category + _STEP),
        ]
    for name, values in (attributes or {}).items():
        conditions.append(F.col("attributes")[name].isin(list(values)))
    return reduce(
        lambda one, other: one | other, (F.coalesce(c, F.lit(False)) for c in conditions), F.lit(False)
    )


def excluded_items(settings: RulesSettings) -> Column:
    """Whether a row of silver.items is on an exclusion list that holds for everybody."""
    exclude = settings.exclude
    return matches(exclude.items, exclude.houses, exclude.categories)


def replenishable_items(settings: RulesSettings) -> Column:
    """Whether a row of silver.items may be recommended again some time after it was bought."""
    again = settings.replenishable
    return matches((), again.houses, again.categories, again.attributes)


def unknown_values(items: DataFrame, settings: RulesSettings, event_types: Iterable[str]) -> dict[str, int]:
    """Count the values of the rules that mean nothing in the catalogue, and log each with the nearest that does.

    Catalogues change: a house that has left it is no error.

    Parameters
    ----------
    items
        silver.items.
    settings
        The rules.
    event_types
        Event types of the lake.

    Returns
    -------
    dict
        Key of each list that is not empty, for example ``exclude.houses``, to its number of unknown values.
    """
    from pyspark.sql import functions as F

    exclude, again, band = settings.exclude, settings.replenishable, settings.price_band
    found: dict[str, int] = {}

    def compare(key: str, asked: Sequence[str], known: Iterable[str]) -> None:
        there = set(known)
        missing = [value for value in asked if value not in there]
        for value in missing:
            log_event(
                "rule_value_unknown", key=f"rules.{key}", value=value, nearest=nearest(value, sorted(there))
            )
        found[key] = len(missing)

    if exclude.items:
        compare("exclude.items", exclude.items, _values(items, F.col("item_id")))
    if exclude.houses or again.houses:
        houses = _values(items, F.col("brand"))
        for key, asked in (("exclude.houses", exclude.houses), ("replenishable.houses", again.houses)):
            if asked:
                compare(key, asked, houses)
    if exclude.categories or again.categories:
        parts = _values(items, F.explode("categories"))
        paths = {
            row[0] for row in items.select(F.array_join("categories", _STEP)).distinct().collect() if row[0]
        }
        for path in paths:
            steps = path.split(_STEP)
            parts |= {_STEP.join(steps[:length]) for length in range(1, len(steps) + 1)}
        for key, asked in (
            ("exclude.categories", exclude.categories),
            ("replenishable.categories", again.categories),
        ):
            if asked:
                compare(key, [_as_path(value) for value in asked], parts)
    for name, values in again.attributes.items():
        compare(f"replenishable.attributes.{name}", values, _values(items, F.col("attributes")[name]))
    if band.active:
        compare("price_band.event_types", band.event_types, event_types)
    return found


def _as_path(category: str) -> str:
    return _STEP.join(part.strip() for part in category.split(_STEP.strip()))


def _values(items: DataFrame, column: Column) -> set[str]:
    """Distinct values of a column of the catalogue: item-sized at most."""
    return {row[0] for row in items.select(column.alias("value")).distinct().collect() if row[0] is not None}
