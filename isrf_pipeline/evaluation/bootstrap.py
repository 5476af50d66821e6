"""Paired bootstrap over clients that needs one pass over the data and no client on the driver.

Each client takes part in a resample as often as a Poisson variable of mean 1 says, independently of the others
(Chamandy et al., "Estimating Uncertainty for Massive Data Streams", 2012). The variables are functions of the client's
hash and the resample, so that the same clients give the same intervals however they are partitioned, and all systems
are resampled alike.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import DataFrame

#: Distribution function of a Poisson variable of mean 1; more than 8 is one in a million.
_POISSON = np.cumsum(np.exp(-1.0) / np.cumprod([1.0, *range(1, 9)]))
_SUMS = "slice string, clients double, sums array<double>, resampled binary"


@dataclass(frozen=True)
class Interval:
    """A mean over clients and the bounds of its 95 % interval."""

    mean: float
    low: float
    high: float


def poisson_weights(clients: NDArray[np.int64], resamples: int) -> NDArray[np.uint8]:
    """(clients, resamples) how often each client takes part in each resample.

    Parameters
    ----------
    clients
        (clients,) hashes of the clients.
    resamples
        Number of resamples.
    """
    with np.errstate(over="ignore"):
        mixed = clients.astype(np.uint64)[:, None] + np.uint64(0x9E3779B97F4A7C15) * np.arange(
            1, resamples + 1, dtype=np.uint64
        )
        # The finalizer of SplitMix64 (Steele et al., 2014).
        mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        mixed ^= mixed >> np.uint64(31)
    uniform = (mixed >> np.uint64(11)).astype(np.float64) * 2.0**-53
    return np.asarray(np.searchsorted(_POISSON, uniform, side="right"), dtype=np.uint8)


def paired_intervals(
    gains: DataFrame, columns: Sequence[str], resamples: int = 1000
) -> dict[tuple[str, str], Interval]:
    """Mean of each column in each slice, with its interval.

    Parameters
    ----------
    gains
        client (bigint: hash of the client), slices (array<string>) and ``columns`` (double): gains, or differences of
        gains of two systems.
    columns
        What to average.
    resamples
        Number of resamples.

    Returns
    -------
    dict
        (column, slice) to interval.
    """
    from pyspark.sql import functions as F

    names = list(columns)

    def add_up(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        import pyarrow as pa

        for batch in batches:
            weights = poisson_weights(batch.column("client").to_numpy(), resamples).astype(np.float64)
            values = np.stack([batch.column(name).to_numpy() for name in names], axis=1)
            with_one = np.hstack([np.ones((len(values), 1)), values])
            lists = batch.column("slices")
            owner = np.repeat(np.arange(len(values)), np.diff(lists.offsets.to_numpy()))
            named = np.array(lists.flatten().to_pylist(), dtype=object)
            for slice_ in sorted(set(named.tolist())):
                rows = owner[named == slice_]
                resampled = weights[rows].T @ with_one[rows]
                yield pa.RecordBatch.from_pydict(
                    {
                        "slice": [slice_],
                        "clients": [float(len(rows))],
                        "sums": pa.array([values[rows].sum(axis=0).tolist()], pa.list_(pa.float64())),
                        "resampled": pa.array([resampled.tobytes()], pa.binary()),
                    }
                )

    parts = gains.select("client", "slices", *(F.col(name).cast("double") for name in names))
    found: dict[tuple[str, str], Interval] = {}
    rows = parts.mapInArrow(add_up, _SUMS).collect()
    for slice_ in sorted({row["slice"] for row in rows}):
        own = [row for row in rows if row["slice"] == slice_]
        clients = sum(row["clients"] for row in own)
        means = np.sum([row["sums"] for row in own], axis=0) / clients
        # Sums of the same numbers in another order differ in the last digits only.
        resampled = np.sum([np.frombuffer(row["resampled"]).reshape(resamples, -1) for row in own], axis=0)
        drawn = resampled[:, 1:] / np.maximum(resampled[:, :1], 1)
        low, high = np.percentile(drawn, [2.5, 97.5], axis=0)
        for k, name in enumerate(names):
            found[name, slice_] = Interval(float(means[k]), float(low[k]), float(high[k]))
    return found
