"""What accuracy does not tell of ranked lists: how much of the catalogue they show, how evenly, how new, how varied."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from isrf_pipeline.interests.model import embedding_matrix

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark import Broadcast
    from pyspark.sql import DataFrame

#: Places of a list that are looked at: what a client is shown.
CUTOFF = 10
#: Names of the measures, in the order of reports.
MEASURES = tuple(f"{name}@{CUTOFF}" for name in ("coverage", "gini", "novelty", "diversity"))


def beyond_accuracy(
    systems: Mapping[str, DataFrame],
    clients: DataFrame,
    training: DataFrame,
    features: DataFrame,
) -> dict[tuple[str, str], float]:
    """Coverage, Gini index, novelty and diversity of each system's first ten places.

    Counts by item and the items' embeddings reach the driver, both item-sized; the embeddings are broadcast.

    Parameters
    ----------
    systems
        Lists by name: user_id, rank (from 1), item_id.
    clients
        user_id: whose lists are looked at, the same for all systems.
    training
        Distinct user_id, item_id that statistics are fitted on.
    features
        item_id and embedding (array<float>): one row an item of the catalogue.

    Returns
    -------
    dict
        (``<system>.<measure>@10``, "all") to value; see :func:`exposure_measures` and :func:`mean_diversity`. A system
        without lists has coverage 0 and nothing else.
    """
    from pyspark.sql import functions as F

    known = features.select("item_id", "embedding").orderBy("item_id").toArrow()
    vectors = embedding_matrix(known.column("embedding"))
    vectors /= np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    code_of = {item: code for code, item in enumerate(known.column("item_id").to_pylist())}
    holders = _counts(training.groupBy("item_id").count(), code_of)
    trained = training.select("user_id").distinct().count()
    shared = features.sparkSession.sparkContext.broadcast((code_of, vectors))
    values: dict[tuple[str, str], float] = {}
    for system, lists in systems.items():
        shown = (
            lists.where(F.col("rank") <= CUTOFF)
            .join(clients.select("user_id"), "user_id", "left_semi")
            .select("user_id", "item_id")
            .persist()
        )
        exposure = _counts(shown.groupBy("item_id").count(), code_of)
        found: dict[str, float | None] = dict(exposure_measures(exposure, holders, trained))
        found["diversity"] = mean_diversity(shown, shared)
        shown.unpersist()
        for name, value in found.items():
            if value is not None:
                values[f"{system}.{name}@{CUTOFF}", "all"] = value
    shared.unpersist()
    return values


def exposure_measures(
    exposure: NDArray[np.int64], holders: NDArray[np.int64], clients: int
) -> dict[str, float]:
    """Measures that follow from how often each item is shown.

    Coverage is the share of the catalogue that at least one list shows. The Gini index tells how unevenly places are
    given to items: 0 where each item has as many as any other, 1 where one item has all of them,
    ``sum_k (2k - n - 1) p_k / (n - 1)`` over items in ascending order of their share ``p_k`` of all places (Castells,
    Hurley and Vargas, "Novelty and Diversity in Recommender Systems", 2015). Novelty is the mean self-information of a
    place, ``-log2`` of the share of training clients who have the item (Zhou et al., "Solving the apparent
    diversity-accuracy dilemma of recommender systems", 2010), in bits; an item that nobody has counts as if one client
    had it.

    Parameters
    ----------
    exposure
        (items,) number of lists that show each item of the catalogue.
    holders
        (items,) training clients who have each item.
    clients
        Number of training clients.

    Returns
    -------
    dict
        coverage, and gini and novelty where anything is shown; gini only of a catalogue of more than one item.
    """
    n, places = len(exposure), float(exposure.sum())
    values = {"coverage": float((exposure > 0).sum()) / max(n, 1)}
    if places == 0:
        return values
    if n > 1:
        share = np.sort(exposure) / places
        values["gini"] = float(((2 * np.arange(1, n + 1) - n - 1) * share).sum() / (n - 1))
    information = np.log2(max(clients, 1)) - np.log2(np.maximum(holders, 1))
    values["novelty"] = float((exposure * information).sum() / places)
    return values


def mean_diversity(
    shown: DataFrame, items: Broadcast[tuple[dict[str, int], NDArray[np.float32]]]
) -> float | None:
    """Mean intra-list diversity: 1 minus the mean cosine of two items of a list (Ziegler et al., 2005).

    Parameters
    ----------
    shown
        user_id, item_id: the items of each list.
    items
        Broadcast of item codes by identifier and the (items, dimensions) unit embeddings by code.

    Returns
    -------
    float or None
        Mean over the lists with at least two embedded items; None where there is no such list.
    """
    from pyspark.sql import functions as F

    def diversities(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        import pyarrow as pa

        code_of, vectors = items.value
        for batch in batches:
            lists = batch.column("items")
            codes = np.array([code_of.get(item, -1) for item in lists.flatten().to_pylist()], np.int64)
            owner = np.repeat(np.arange(len(lists)), np.diff(lists.offsets.to_numpy()))
            yield pa.RecordBatch.from_pydict(
                {"diversity": pa.array(list_diversity(codes, owner, len(lists), vectors), pa.float64())}
            )

    # Sorted, for the last digits of a sum depend on its order.
    grouped = shown.groupBy("user_id").agg(F.array_sort(F.collect_list("item_id")).alias("items"))
    row = (
        grouped.select("items")
        .mapInArrow(diversities, "diversity double")
        .where("NOT isnan(diversity)")
        .agg(F.avg("diversity"))
        .first()
    )
    return float(row[0]) if row is not None and row[0] is not None else None


def list_diversity(
    codes: NDArray[np.int64], owner: NDArray[np.int64], lists: int, vectors: NDArray[np.float32]
) -> NDArray[np.float64]:
    """(lists,) diversity of each list; NaN where fewer than two of its items have an embedding.

    The cosines of all ordered pairs of ``m`` unit vectors add up to the squared length of their sum less ``m``.

    Parameters
    ----------
    codes
        (places,) item of each place; -1 where it is not known.
    owner
        (places,) list of each place, ascending.
    lists
        Number of lists.
    vectors
        (items, dimensions) unit embeddings; a row of zeros stands for an item without one.
    """
    known = codes >= 0
    known[known] = vectors[codes[known]].any(axis=1)
    listed = sparse.csr_matrix(
        (np.ones(int(known.sum())), (owner[known], codes[known])), shape=(lists, len(vectors))
    )
    size = np.asarray(listed.sum(axis=1)).ravel()
    cosines = (np.asarray(listed @ vectors) ** 2).sum(axis=1) - size
    pairs = size * (size - 1)
    return np.where(pairs > 0, 1 - cosines / np.maximum(pairs, 1), np.nan)


def _counts(rows: DataFrame, code_of: Mapping[str, int]) -> NDArray[np.int64]:
    """(items,) counts by code; items outside the catalogue are left out."""
    counts = np.zeros(len(code_of), np.int64)
    table = rows.select("item_id", "count").toArrow()
    for item, count in zip(table.column(0).to_pylist(), table.column(1).to_pylist(), strict=True):
        if item in code_of:
            counts[code_of[item]] = count
    return counts
