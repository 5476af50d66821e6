"""Names of the rules as they stand in gold.recommendations, ops.metrics and the report."""

from __future__ import annotations

from isrf_pipeline.config.rules_settings import RulesSettings

AVAILABILITY = "availability"
EXCLUSIONS = "exclusions"
CLIENT_EXCLUSIONS = "client_exclusions"
ALREADY_BOUGHT = "already_bought"
PRICE_BAND = "price_band"
HOUSE_CAP = "house_cap"
NEW_ARRIVALS = "new_arrivals"
DIVERSITY = "diversity"
REPLENISHABLE = "replenishable"

#: Rules that forbid an item, in the order in which they are asked: the first that forbids it is counted.
HARD = (AVAILABILITY, EXCLUSIONS, CLIENT_EXCLUSIONS, ALREADY_BOUGHT, PRICE_BAND)


def category_cap(level: int) -> str:
    """Name of the cap on categories of one level of the path."""
    return f"category_cap_{level}"


def rules_in_force(settings: RulesSettings, only_available: bool, once: bool) -> tuple[str, ...]:
    """Names of the rules that a list is made under, in the order of their application.

    Parameters
    ----------
    settings
        The declared rules.
    only_available
        Whether only available items are listed.
    once
        Whether there are event types whose items are not recommended again.
    """
    asked = {
        AVAILABILITY: only_available,
        EXCLUSIONS: settings.exclude.of_items,
        CLIENT_EXCLUSIONS: settings.exclude.clients is not None,
        ALREADY_BOUGHT: once,
        REPLENISHABLE: once and settings.replenishable.active,
        PRICE_BAND: settings.price_band.active,
        HOUSE_CAP: settings.cap.house is not None,
        **{category_cap(level): True for level in settings.cap.category},
        NEW_ARRIVALS: settings.new_arrivals.active,
        DIVERSITY: settings.diversity.active,
    }
    return tuple(name for name, used in asked.items() if used)
