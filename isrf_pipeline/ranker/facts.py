"""What the ranker knows of items beside their scores: house, categories, price, and when they were chosen."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

#: Days fit into so many bits beside an item's code.
_DAY_BITS = 20


@dataclass(frozen=True)
class PastSales:
    """Clients who chose an item, by day; answers how many had done so before a day.

    Attributes
    ----------
    keys
        (entries,) int64, sorted: item code and day.
    cumulated
        (entries + 1,) clients of all entries before.
    starts
        (items + 1,) first entry of each item.
    """

    keys: NDArray[np.int64]
    cumulated: NDArray[np.int64]
    starts: NDArray[np.int64]

    @classmethod
    def of(
        cls, codes: NDArray[np.int64], days: NDArray[np.int64], counts: NDArray[np.int64], n_items: int
    ) -> PastSales:
        """Build from one entry an item and day, in any order.

        Parameters
        ----------
        codes, days, counts
            (entries,) item code, day since 1970 and clients.
        n_items
            Number of items.
        """
        keys = _key(codes.astype(np.int64), days.astype(np.int64))
        order = np.argsort(keys, kind="stable")
        keys = keys[order]
        cumulated = np.concatenate([[0], np.cumsum(counts[order])]).astype(np.int64)
        starts = np.searchsorted(keys, _key(np.arange(n_items + 1), np.zeros(n_items + 1, np.int64)))
        return cls(keys, cumulated, starts)

    def before(self, codes: NDArray[np.int64], days: NDArray[np.int64]) -> NDArray[np.int64]:
        """Clients who chose each item on a day before each day."""
        return (
            self.cumulated[np.searchsorted(self.keys, _key(codes, days))] - self.cumulated[self.starts[codes]]
        )

    def age(self, codes: NDArray[np.int64], days: NDArray[np.int64]) -> NDArray[np.float32]:
        """Days since each item was first chosen; NaN where that was not before the day."""
        first = self.starts[codes]
        known = first < self.starts[codes + 1]
        day = np.full(len(codes), np.inf)
        day[known] = self.keys[first[known]] & ((1 << _DAY_BITS) - 1)
        day[day >= days] = np.nan
        return np.asarray(days - day, dtype=np.float32)


@dataclass(frozen=True)
class ItemFacts:
    """Facts of all items, by code; each (items,).

    Attributes
    ----------
    house, category, department
        int32 codes of the house, the whole category path and the path without its last part; -1 where unknown.
    price
        float32 logarithm of the price, NaN where unknown.
    sales
        When clients chose them.
    """

    house: NDArray[np.int32]
    category: NDArray[np.int32]
    department: NDArray[np.int32]
    price: NDArray[np.float32]
    sales: PastSales


def names_to_codes(names: list[str | None]) -> NDArray[np.int32]:
    """Codes of equal names, by their alphabetical order; -1 where there is none."""
    known = {name: code for code, name in enumerate(sorted({name for name in names if name}))}
    return np.array([known.get(name or "", -1) for name in names], np.int32)


def log_prices(prices: list[float | None]) -> NDArray[np.float32]:
    """Logarithms of 1 + price; NaN where there is none or it is negative."""
    values = np.array([np.nan if price is None else price for price in prices], np.float64)
    return np.asarray(np.log1p(np.where(values >= 0, values, np.nan)), dtype=np.float32)


def past_sales(histories: DataFrame, n_items: int) -> PastSales:
    """Sales by item and day out of clients' histories: as many rows as items have days on which they were chosen.

    Parameters
    ----------
    histories
        codes (array<int>) and days (array<int>: days since 1970).
    n_items
        Number of items.
    """
    from pyspark.sql import functions as F

    counts = (
        histories.select(F.explode(F.arrays_zip("codes", "days")).alias("event"))
        .groupBy("event.codes", "event.days")
        .count()
        .toArrow()
    )
    codes, days, clients = (column.to_numpy() for column in counts.columns)
    return PastSales.of(codes, days, clients, n_items)


def _key(codes: NDArray[np.int64], days: NDArray[np.int64]) -> NDArray[np.int64]:
    return (codes.astype(np.int64) << _DAY_BITS) | np.clip(days, 0, (1 << _DAY_BITS) - 1)
