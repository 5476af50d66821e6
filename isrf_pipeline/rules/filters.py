"""Rules that look at one item at a time: what may be listed at all, what stands behind, what is new."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from isrf_pipeline.interests.blocks import code_lists
from isrf_pipeline.interests.model import InterestModel
from isrf_pipeline.rules.items import ItemRules
from isrf_pipeline.rules.names import (
    ALREADY_BOUGHT,
    AVAILABILITY,
    CLIENT_EXCLUSIONS,
    EXCLUSIONS,
    HARD,
    PRICE_BAND,
)


def forbidden_by(
    rows: pa.RecordBatch, items: InterestModel, rules: ItemRules, only_available: bool, in_band: bool
) -> NDArray[np.int8]:
    """(clients, items) the first rule that forbids an item, counted from 1 in :data:`HARD`; 0 where none does.

    Parameters
    ----------
    rows
        Clients: excluded and barred (array<int> item codes), price_low, price_high.
    items
        The item model.
    rules
        What the rules know of the items.
    only_available
        Whether only available items may be listed.
    in_band
        Whether items outside of the client's price band are left out.
    """
    number = {name: np.int8(place + 1) for place, name in enumerate(HARD)}
    forbidden = np.zeros((rows.num_rows, items.n_items), np.int8)
    # From the last rule to the first, so that the first that forbids an item has the last word.
    if in_band:
        forbidden[outside_band(rows, rules.price)] = number[PRICE_BAND]
    for column, name in (("excluded", ALREADY_BOUGHT), ("barred", CLIENT_EXCLUSIONS)):
        for row, codes in enumerate(code_lists(rows, column)):
            forbidden[row, codes] = number[name]
    forbidden[:, rules.excluded] = number[EXCLUSIONS]
    if only_available:
        forbidden[:, ~items.available] = number[AVAILABILITY]
    return forbidden


def outside_band(rows: pa.RecordBatch, price: NDArray[np.float64]) -> NDArray[np.bool_]:
    """(clients, items) whether an item's price lies outside of the client's band; neither is where one is not known.

    Parameters
    ----------
    rows
        Clients: price_low, price_high; null without a band.
    price
        (items,) price, NaN where it is not known.
    """
    low, high = (
        rows.column(name).to_numpy(zero_copy_only=False).astype(np.float64)[:, None]
        for name in ("price_low", "price_high")
    )
    return np.asarray((price[None, :] < low) | (price[None, :] > high))
