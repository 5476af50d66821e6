"""What a client is compared by: one unit vector made of the history's items and of the interest text."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import DataFrame


def ordered_history(events: DataFrame, value: str = "item_id") -> DataFrame:
    """Each client's distinct items, newest first.

    An item stands where its latest event puts it and weighs what its strongest event weighs. Items whose latest
    events have one timestamp are ordered by a hash of item and client, so that no identifier is favoured.

    Parameters
    ----------
    events
        Columns user_id, item_id, ts and weight.
    value
        Column that stands for the item in the result, one value an item.

    Returns
    -------
    DataFrame
        user_id, items (array of ``value``), weights (array<float>) and times (array<timestamp>: of each item's latest
        event), one row a client.
    """
    from pyspark.sql import functions as F

    items = events.groupBy("user_id", "item_id").agg(
        F.max("ts").alias("ts"),
        F.max("weight").cast("float").alias("weight"),
        F.max(value).alias("item"),
    )
    entry = F.struct(
        F.col("ts"),
        F.xxhash64("item_id", "user_id").alias("tie"),
        F.col("item"),
        F.col("weight"),
    )
    ordered = F.reverse(F.array_sort(F.collect_list(entry)))
    return (
        items.groupBy("user_id")
        .agg(ordered.alias("history"))
        .select(
            "user_id",
            F.col("history.item").alias("items"),
            F.col("history.weight").alias("weights"),
            F.col("history.ts").alias("times"),
        )
    )


def history_profiles(
    events: DataFrame, item_embeddings: DataFrame, decay: float, text: DataFrame | None, text_weight: float
) -> DataFrame:
    """Profile of each client: recency-weighted mean of the embeddings of his items, plus his interest text.

    The mean is brought to unit length before the text is added, so ``text_weight`` compares the two directly.
    The item matrix is broadcast: it is item-sized, 1.5 KB an item at 384 dimensions.

    Parameters
    ----------
    events
        Columns user_id, item_id, ts and weight; training events only.
    item_embeddings
        Columns item_id and embedding (array<float>, all of one length).
    decay
        Weight of one more distinct item back; the newest weighs 1 times its event weight.
    text
        Columns user_id and embedding (null where there is no text), or None.
    text_weight
        Weight of the text's embedding.

    Returns
    -------
    DataFrame
        user_id and embedding (array<float>, unit length); clients without any embedded item or text are left out.
    """
    from pyspark.sql import functions as F

    histories = ordered_history(events)
    if text is None or text_weight == 0:
        histories = histories.withColumn("text", F.lit(None).cast("array<float>"))
    else:
        written = text.where(F.col("embedding").isNotNull()).select(
            "user_id", F.col("embedding").alias("text")
        )
        histories = histories.join(written, "user_id", "full")
    known = item_embeddings.select("item_id", "embedding").orderBy("item_id").toArrow()
    matrix = (
        known.column("embedding").combine_chunks().flatten().to_numpy(zero_copy_only=False).astype(np.float32)
    )
    codes = {item_id: code for code, item_id in enumerate(known.column("item_id").to_pylist())}
    items = events.sparkSession.sparkContext.broadcast(
        (codes, matrix.reshape(len(codes), -1) if codes else matrix)
    )

    def mean(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        item_codes, embeddings = items.value
        for batch in batches:
            yield profiles_of(batch, item_codes, embeddings, decay, text_weight)

    return histories.select("user_id", "items", "weights", "text").mapInArrow(
        mean, "user_id string, embedding array<float>"
    )


def profiles_of(
    batch: pa.RecordBatch,
    item_codes: dict[str, int],
    embeddings: NDArray[np.float32],
    decay: float,
    text_weight: float,
) -> pa.RecordBatch:
    """Profiles of one batch of clients.

    Parameters
    ----------
    batch
        Columns user_id, items, weights (newest first) and text; lists may be null.
    item_codes
        Item to its row of ``embeddings``.
    embeddings
        (items, dimensions) unit embeddings.
    decay, text_weight
        As for :func:`history_profiles`.
    """
    import pyarrow as pa
    from scipy import sparse

    user_ids = batch.column("user_id").to_pylist()
    lengths = _lengths(batch.column("items"))
    owner = np.repeat(np.arange(len(user_ids)), lengths)
    # Steps count every item: one without an embedding does not make the older ones newer.
    step = np.arange(len(owner)) - (np.cumsum(lengths) - lengths)[owner]
    code = np.array(
        [item_codes.get(item, -1) for item in batch.column("items").flatten().to_pylist()], np.int64
    )
    weight = batch.column("weights").flatten().to_numpy(zero_copy_only=False) * np.power(decay, step)
    known = code >= 0
    shape = (len(user_ids), len(item_codes))
    mixture = sparse.csr_matrix((weight[known].astype(np.float32), (owner[known], code[known])), shape=shape)
    width = embeddings.shape[1] if embeddings.ndim == 2 else 0
    texts = _lengths(batch.column("text"))
    width = width or int(texts.max(initial=0))
    total = np.zeros((len(user_ids), width), np.float32)
    if len(item_codes):
        total += _unit(mixture @ embeddings)
    if texts.any():
        total[texts > 0] += text_weight * batch.column("text").flatten().to_numpy(
            zero_copy_only=False
        ).reshape(-1, width)
    kept = np.flatnonzero(np.linalg.norm(total, axis=1) > 0)
    vectors = _unit(total[kept])
    offsets = pa.array(np.arange(len(kept) + 1, dtype=np.int32) * width)
    return pa.RecordBatch.from_arrays(
        [
            pa.array([user_ids[row] for row in kept], pa.string()),
            pa.ListArray.from_arrays(offsets, pa.array(vectors.ravel(), pa.float32())),
        ],
        names=["user_id", "embedding"],
    )


def _lengths(lists: pa.Array) -> NDArray[np.int64]:
    """Length of each list; a null counts as empty."""
    present = np.array(lists.is_valid().to_numpy(zero_copy_only=False), dtype=bool)
    return np.where(present, np.diff(lists.offsets.to_numpy()), 0).astype(np.int64)


def _unit(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.asarray(rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12), dtype=np.float32)
