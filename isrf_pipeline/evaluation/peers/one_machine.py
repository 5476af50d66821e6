"""Runs a peer that is fitted on one machine where the events are: in one task of Spark, which alone sees them all."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from isrf_pipeline.evaluation.peers.histories import NO_ITEM, Histories, Recommender
from isrf_pipeline.evaluation.peers.lists import PeerLists, numbered

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import Column, DataFrame

_MADE = "user_id string, codes array<int>, fit double, recommend double"
_ROWS_OF_A_BATCH = 10_000


def lists_from_one_machine(
    training: DataFrame, known: DataFrame, clients: DataFrame, top_n: int, recommender: Recommender
) -> PeerLists:
    """Fit a recommender on training events and let it rank for all clients, in one task.

    Clients reach the task as rows of item codes, so it needs some tens of bytes an event beside what the recommender
    itself takes. A client without any known item that was seen in training gets no list.

    Parameters
    ----------
    training, known, clients, top_n
        See :data:`isrf_pipeline.evaluation.peers.lists.Peer`.
    recommender
        Sent to the task.

    Returns
    -------
    PeerLists
        Seconds: "fit" and "recommend" inside the task; "total" also counts the way there and back.
    """
    from pyspark.sql import functions as F

    started = time.perf_counter()
    codes = numbered(training, "item_id", "code")
    n_items = codes.count()
    recommender.check(n_items)

    def fit_and_recommend(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        return _made(batches, recommender, n_items, top_n)

    rows = _rows_of_clients(training, known, clients, codes)
    made = rows.repartition(1).mapInArrow(fit_and_recommend, _MADE).persist()
    lists = (
        made.select("user_id", F.posexplode("codes").alias("place", "code"))
        .join(F.broadcast(codes), "code")
        .select("user_id", (F.col("place") + 1).alias("rank"), "item_id")
        .persist()
    )
    lists.count()
    spent = made.agg(F.max("fit"), F.max("recommend")).first()
    fit, recommend = (value or 0.0 for value in (spent if spent is not None else (0.0, 0.0)))
    return PeerLists(lists, {"fit": fit, "recommend": recommend, "total": time.perf_counter() - started})


def _rows_of_clients(
    training: DataFrame, known: DataFrame, clients: DataFrame, codes: DataFrame
) -> DataFrame:
    """user_id, tie, asked, and the codes of training and known events, oldest first; events of one time by hash."""
    from pyspark.sql import functions as F

    def events(pairs: DataFrame, part: str) -> DataFrame:
        tie = F.xxhash64("item_id", "user_id").alias("tie")
        return pairs.join(F.broadcast(codes), "item_id").select(
            "user_id", F.lit(part).alias("part"), F.struct("ts", tie, "code").alias("event")
        )

    def of(part: str) -> Column:
        kept = F.collect_list(F.when(F.col("part") == part, F.col("event")))
        return F.transform(F.array_sort(kept), lambda event: event["code"]).alias(part)

    asked = clients.select("user_id", F.lit("asked").alias("part"))
    return (
        events(training, "training")
        .unionByName(events(known, "known"))
        .unionByName(asked, allowMissingColumns=True)
        .groupBy("user_id")
        .agg(of("training"), of("known"), F.max(F.col("part") == "asked").alias("asked"))
        .withColumn("tie", F.xxhash64("user_id"))
    )


def _made(
    batches: Iterator[pa.RecordBatch], recommender: Recommender, n_items: int, top_n: int
) -> Iterator[pa.RecordBatch]:
    import pyarrow as pa
    import pyarrow.compute as pc

    arrived = list(batches)
    if not arrived or n_items == 0:
        return
    # Rows come in any order, and sums of floats as well as random numbers follow it.
    rows = pa.Table.from_batches(arrived).sort_by([("tie", "ascending"), ("user_id", "ascending")])
    started = time.perf_counter()
    recommender.fit(_histories(rows.column("training")), n_items)
    fitted = time.perf_counter()
    can_be_asked = pc.and_(rows.column("asked"), pc.greater(pc.list_value_length(rows.column("known")), 0))
    asked = rows.filter(can_be_asked)
    codes = recommender.recommend(_histories(asked.column("known")), top_n)
    finished = time.perf_counter()
    table = pa.table(
        {
            "user_id": asked.column("user_id"),
            "codes": _without_fill(codes),
            "fit": np.full(len(asked), fitted - started),
            "recommend": np.full(len(asked), finished - fitted),
        }
    )
    yield from table.to_batches(max_chunksize=_ROWS_OF_A_BATCH)


def _histories(lists: pa.ChunkedArray) -> Histories:
    joined = lists.combine_chunks()
    lengths = np.diff(joined.offsets.to_numpy()).astype(np.int64)
    return Histories(joined.flatten().to_numpy(zero_copy_only=False).astype(np.int32), lengths)


def _without_fill(codes: NDArray[np.int32]) -> pa.ListArray:
    import pyarrow as pa

    listed = codes != NO_ITEM
    offsets = np.concatenate([[0], np.cumsum(listed.sum(axis=1))]).astype(np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets), pa.array(codes[listed], pa.int32()))
