"""The item-sized model that every task scores against: edges between items, embeddings, popularity."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from scipy import sparse

from isrf_pipeline.concurrent_actions import run_together
from isrf_pipeline.interests.histories import coded_histories, item_codes
from isrf_pipeline.ranker.facts import ItemFacts, log_prices, names_to_codes, past_sales
from isrf_pipeline.sequences.model import SequenceModel

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

#: Stands between the parts of a category path.
_STEP = "\x1f"
_FACTS = ("brand", "category", "department", "price")


@dataclass(frozen=True)
class InterestModel:
    """Everything about items that scoring needs; small enough to broadcast (some millions of items at most).

    An item's code is its position in the sorted identifiers, so it does not depend on the order of the input.

    Attributes
    ----------
    item_ids
        (items,) identifiers, sorted.
    followed
        (items, items) weights of followed_by edges; row = item in the history.
    semantic
        (items, items) weights of similar_meaning edges.
    embeddings
        (items, dimensions) unit embeddings.
    popularity
        (items,) number of clients with the item in their training events.
    available
        (items,) whether the item may be recommended.
    facts
        What the ranker knows of them beside, or None where nothing is ranked by it.
    sequence
        The trained sequence model, or None where there is none.
    """

    item_ids: NDArray[np.str_]
    followed: sparse.csr_matrix
    semantic: sparse.csr_matrix
    embeddings: NDArray[np.float32]
    popularity: NDArray[np.float32]
    available: NDArray[np.bool_]
    facts: ItemFacts | None = None
    sequence: SequenceModel | None = None

    @property
    def n_items(self) -> int:
        """Number of items."""
        return len(self.item_ids)

    @property
    def rows_at_once(self) -> int:
        """Clients scored in one dense block: 2 MiB, so that passes over it stay within a core's cache."""
        return max(1, 2**19 // max(1, self.n_items))


def load_interest_model(
    items: DataFrame, meaning: DataFrame, edges: DataFrame, training: DataFrame
) -> InterestModel:
    """Collect the item-sized model from its tables.

    Parameters
    ----------
    items
        silver.items.
    meaning
        item_id, embedding; see :func:`isrf_pipeline.graphs.meaning.item_meaning`.
    edges
        graph.edges; only its item-item relations are used.
    training
        Training events, for popularity and sales.

    Returns
    -------
    InterestModel
        Without a sequence model.
    """
    from pyspark.sql import functions as F

    described = items.join(meaning, "item_id").select(
        "item_id",
        "available",
        "embedding",
        "brand",
        F.concat_ws(_STEP, "categories").alias("category"),
        F.concat_ws(_STEP, F.slice("categories", 1, F.greatest(F.size("categories") - 1, F.lit(0)))).alias(
            "department"
        ),
        "price",
    )
    clients_of = training.groupBy("item_id").agg(F.count_distinct("user_id").alias("clients"))
    rows, counts = run_together(described.toArrow, clients_of.toArrow)
    ids, order = sorted_item_ids(rows.column("item_id").to_pylist())
    available = np.asarray(rows.column("available").to_pylist(), dtype=bool)[order]
    embeddings = embedding_matrix(rows.column("embedding"))[order]
    codes = {item: code for code, item in enumerate(ids.tolist())}
    popularity = np.zeros(len(ids), np.float32)
    for item, clients in zip(counts.column(0).to_pylist(), counts.column(1).to_pylist(), strict=True):
        if item in codes:
            popularity[codes[item]] = clients
    coded = item_codes(edges.sparkSession, ids)
    followed, semantic = run_together(
        *(
            functools.partial(_edge_matrix, edges.where(F.col("relation") == relation), coded, len(ids))
            for relation in ("followed_by", "similar_meaning")
        )
    )
    named = {name: rows.column(name).take(pa.array(order)).to_pylist() for name in _FACTS}
    facts = ItemFacts(
        names_to_codes(named["brand"]),
        names_to_codes(named["category"]),
        names_to_codes(named["department"]),
        log_prices(named["price"]),
        past_sales(coded_histories(training, coded), len(ids)),
    )
    return InterestModel(ids, followed, semantic, embeddings, popularity, available, facts)


def sorted_item_ids(item_ids: list[str]) -> tuple[NDArray[np.str_], NDArray[np.int64]]:
    """Sort identifiers; return them and the positions they came from."""
    unsorted = np.asarray(item_ids, dtype=np.str_)
    order = np.argsort(unsorted, kind="stable")
    return unsorted[order], order


def embedding_matrix(column: object) -> NDArray[np.float32]:
    """Turn an Arrow column of equally long float lists into a (rows, dimensions) float32 matrix; null is zeros."""
    lists = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    assert isinstance(lists, pa.Array)
    present = np.array(lists.is_valid().to_numpy(zero_copy_only=False), dtype=bool)
    values: NDArray[np.float32] = lists.flatten().to_numpy(zero_copy_only=False).astype(np.float32)
    if present.all() and len(lists):
        return values.reshape(len(lists), -1)
    filled = int(present.sum())
    matrix = np.zeros((len(lists), len(values) // filled if filled else 1), np.float32)
    if filled:
        matrix[present] = values.reshape(filled, -1)
    return matrix


def _edge_matrix(edges: DataFrame, codes: DataFrame, n: int) -> sparse.csr_matrix:
    """Edges between items as an (n, n) float32 matrix; identifiers become codes in Spark, by the million."""
    from pyspark.sql import functions as F

    coded = edges
    for end in ("src", "dst"):
        named = codes.select(F.concat(F.lit("i:"), "item_id").alias(end), F.col("code").alias(f"{end}_code"))
        coded = coded.join(F.broadcast(named), end)
    entries = coded.select("src_code", "dst_code", F.col("weight").cast("float").alias("weight")).toArrow()
    source, target, weights = (column.to_numpy() for column in entries.columns)
    matrix = sparse.csr_matrix((weights, (source, target)), shape=(n, n), dtype=np.float32)
    matrix.sort_indices()
    return matrix
