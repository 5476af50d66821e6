"""What the rules know of each item, as arrays by item code."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from isrf_pipeline.config.rules_settings import NewArrivalSettings, RulesSettings
from isrf_pipeline.interests.model import InterestModel
from isrf_pipeline.ranker.facts import names_to_codes
from isrf_pipeline.rules.matching import excluded_items
from isrf_pipeline.rules.names import HOUSE_CAP, category_cap

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

#: Stands between the parts of a category path within a code's name.
_STEP = "\x1f"


@dataclass(frozen=True)
class Cap:
    """A limit of the places that items of one kind may have.

    Attributes
    ----------
    rule
        Name of the rule.
    most
        Places at most.
    codes
        (items,) int32 kind of each item, a house or a category; -1 where it has none, and then no cap.
    """

    rule: str
    most: int
    codes: NDArray[np.int32]


@dataclass(frozen=True)
class ItemRules:
    """Item-sized facts; small enough to broadcast.

    Attributes
    ----------
    excluded
        (items,) whether an exclusion list holds the item for everybody.
    price
        (items,) float64 price; NaN where it is not known or not above 0.
    launched
        (items,) float64 first day on sale, since 1970; NaN where it is not known.
    unseen
        (items,) whether no training event has the item.
    caps
        In the order of their application.
    """

    excluded: NDArray[np.bool_]
    price: NDArray[np.float64]
    launched: NDArray[np.float64]
    unseen: NDArray[np.bool_]
    caps: tuple[Cap, ...] = ()

    def new_arrivals(self, today: NDArray[np.int64], settings: NewArrivalSettings) -> NDArray[np.bool_]:
        """(clients, items) whether an item is a new arrival on each client's day.

        An item is one from its first day on sale on, not before.

        Parameters
        ----------
        today
            (clients,) day since 1970 that a list is for.
        settings
            How long an item is new, and which items without events are.
        """
        unseen = {
            "never": np.zeros(len(self.unseen), bool),
            "undated": self.unseen & np.isnan(self.launched),
            "always": self.unseen,
        }[settings.unseen]
        age = today[:, None] - self.launched[None, :]
        return np.asarray(((age >= 0) & (age < settings.days)) | unseen[None, :])


def load_item_rules(items: DataFrame, model: InterestModel, settings: RulesSettings) -> ItemRules:
    """Collect what the rules need to know of the items.

    Parameters
    ----------
    items
        silver.items; holds every item of the model.
    model
        Item codes and popularity.
    settings
        The rules.
    """
    from pyspark.sql import functions as F

    levels = list(settings.cap.category)
    rows: pa.Table = items.select(
        "item_id",
        "brand",
        "price",
        excluded_items(settings).alias("excluded"),
        F.unix_date("launched_on").alias("launched"),
        *[
            F.when(F.size("categories") >= level, F.concat_ws(_STEP, F.slice("categories", 1, level))).alias(
                f"level_{level}"
            )
            for level in levels
        ],
    ).toArrow()
    place = pc.index_in(
        pa.array(model.item_ids.tolist(), pa.string()), rows.column("item_id").combine_chunks()
    )
    rows = rows.take(place)
    price = np.array(rows.column("price").to_pylist(), np.float64)
    caps = []
    if settings.cap.house is not None:
        codes = names_to_codes(rows.column("brand").to_pylist())
        caps.append(Cap(HOUSE_CAP, settings.cap.house, codes))
    for level in levels:
        codes = names_to_codes(rows.column(f"level_{level}").to_pylist())
        caps.append(Cap(category_cap(level), settings.cap.category[level], codes))
    return ItemRules(
        excluded=np.array(rows.column("excluded").to_pylist(), bool),
        price=np.where(price > 0, price, np.nan),
        launched=np.array(rows.column("launched").to_pylist(), np.float64),
        unseen=model.popularity == 0,
        caps=tuple(caps),
    )
