"""Lists that the generator alone writes, for every client of a frame."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from isrf_pipeline.generator.model import GeneratorModel
from isrf_pipeline.sequences.model import newest_steps

if TYPE_CHECKING:
    from pyspark import Broadcast
    from pyspark.sql import DataFrame

    from isrf_pipeline.generator.decoding import Decoder

GENERATED_SCHEMA = "user_id string, rank int, code int, score double"
#: Numbers in the largest (clients, items) matrix of permissions that is held at once.
_PERMISSIONS_AT_ONCE = 2**23


def generated_lists(
    inputs: DataFrame, model: Broadcast[GeneratorModel], available: NDArray[np.bool_], top_n: int
) -> DataFrame:
    """What most probably comes next for each client, among what may be listed.

    Parameters
    ----------
    inputs
        user_id, codes (array<int>: history, newest first), learned (int: how many of them, the oldest, are training
        events) and excluded (array<int>: codes that may not be listed).
    model
        Broadcast generator.
    available
        (items,) whether an item may be listed at all.
    top_n
        Length of a list, at most the beam.

    Returns
    -------
    DataFrame
        user_id, rank (from 1), code, score (log-probability); nothing for clients without a history.
    """

    def write(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for rows, items, scores in _blocks(batches, model.value, available):
            listed = items[:, :top_n] >= 0
            lengths = listed.sum(axis=1)
            yield pa.RecordBatch.from_pydict(
                {
                    "user_id": rows.column("user_id").take(
                        pa.array(np.repeat(np.arange(rows.num_rows), lengths))
                    ),
                    "rank": np.cumsum(listed, axis=1)[listed].astype(np.int32),
                    "code": items[:, :top_n][listed].astype(np.int32),
                    "score": scores[:, :top_n][listed].astype(np.float64),
                }
            )

    return inputs.select("user_id", "codes", "learned", "excluded").mapInArrow(write, GENERATED_SCHEMA)


def with_generated(
    inputs: DataFrame, model: Broadcast[GeneratorModel], available: NDArray[np.bool_] | None = None
) -> DataFrame:
    """``inputs`` and what the generator writes for each client, as a scorer among others takes it.

    Parameters
    ----------
    inputs
        As for :func:`generated_lists`, with any further columns.
    model
        Broadcast generator.
    available
        (items,) whether an item may be listed at all; None: every item.

    Returns
    -------
    DataFrame
        ``inputs`` without ``learned``, with generated_codes (array<int>, most probable first) and generated_values
        (array<float>: probabilities divided by the client's largest).
    """
    from pyspark.sql.types import ArrayType, FloatType, IntegerType, StructField, StructType

    kept = inputs.drop("learned").columns
    schema = StructType(
        [
            *inputs.drop("learned").schema,
            StructField("generated_codes", ArrayType(IntegerType())),
            StructField("generated_values", ArrayType(FloatType())),
        ]
    )

    def write(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for rows, items, scores in _blocks(batches, model.value, available):
            listed = items >= 0
            best = scores.max(axis=1, initial=-np.inf, keepdims=True)
            values = np.exp(scores - np.where(np.isfinite(best), best, 0))
            offsets = pa.array(np.concatenate([[0], np.cumsum(listed.sum(axis=1))]).astype(np.int32))
            yield pa.RecordBatch.from_arrays(
                [
                    *(rows.column(name) for name in kept),
                    pa.ListArray.from_arrays(offsets, pa.array(items[listed].astype(np.int32))),
                    pa.ListArray.from_arrays(offsets, pa.array(values[listed].astype(np.float32))),
                ],
                names=schema.names,
            )

    return inputs.mapInArrow(write, schema)


def _blocks(
    batches: Iterator[pa.RecordBatch], model: GeneratorModel, available: NDArray[np.bool_] | None
) -> Iterator[tuple[pa.RecordBatch, NDArray[np.int64], NDArray[np.float32]]]:
    """Blocks of clients with what is generated for them; see :func:`generated`."""
    from isrf_pipeline.generator.decoding import Decoder

    decoder = Decoder(model, model.settings.device)
    n_items = len(model.ids)
    at_once = max(1, _PERMISSIONS_AT_ONCE // max(n_items, 1))
    may = np.ones(n_items, bool) if available is None else available
    for batch in batches:
        for start in range(0, batch.num_rows, at_once):
            rows = batch.slice(start, at_once)
            allowed = np.repeat(may[None, :], rows.num_rows, axis=0)
            excluded = rows.column("excluded")
            owner = np.repeat(np.arange(rows.num_rows), np.diff(excluded.offsets.to_numpy()))
            allowed[owner, excluded.flatten().to_numpy(zero_copy_only=False)] = False
            yield rows, *generated(decoder, model, rows, allowed)


def generated(
    decoder: Decoder, model: GeneratorModel, rows: pa.RecordBatch, allowed: NDArray[np.bool_]
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """(clients, at most beam) item codes and log-probabilities of a block of clients, best first; -1 and -inf beyond.

    Parameters
    ----------
    decoder
        Of ``model``.
    model
        The generator.
    rows
        Columns codes (newest first) and learned.
    allowed
        (clients, items) whether an item may be produced.
    """
    lists = rows.column("codes")
    lengths = np.diff(lists.offsets.to_numpy()).astype(np.int64)
    flat = lists.flatten().to_numpy(zero_copy_only=False).astype(np.int32)
    codes, counted = newest_steps(flat, lengths, model.settings.steps)
    # The oldest items are the learned ones, and the oldest are those that no longer fit.
    unknown = lengths - rows.column("learned").to_numpy(zero_copy_only=False).astype(np.int64)
    states = decoder.states(codes, counted, np.clip(counted - unknown, 0, counted))
    items, scores = decoder.generate(states, allowed & (counted > 0)[:, None], model.settings.beam)
    return items, scores
