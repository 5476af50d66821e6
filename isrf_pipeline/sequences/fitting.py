"""Fits the sequence model where the clients' histories are: in one task of Spark, which alone sees them all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from isrf_pipeline.config.settings import SequenceSettings
from isrf_pipeline.sequences.model import SequenceModel

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark import Broadcast
    from pyspark.sql import DataFrame

_TRAINED = "phase int, content binary"


def fit_sequences(
    histories: DataFrame, meaning: Broadcast[NDArray[np.float32]], settings: SequenceSettings
) -> tuple[SequenceModel, SequenceModel]:
    """Train on what precedes each client's last training event, then on all training events.

    The ranker learns from the last training event of each client and must not be shown scores of a model that knows
    it; lists are computed with the model that knows all.

    Parameters
    ----------
    histories
        user_id and codes (array<int>), newest first; of training events only.
    meaning
        (items, dimensions) embeddings of the items' texts, broadcast.
    settings
        Shape and pace of the model, and how many clients it learns from.

    Returns
    -------
    tuple of SequenceModel
        The model before each client's last event, and after all.
    """
    from pyspark.sql import functions as F

    tied = histories.select(F.xxhash64("user_id").alias("tie"), "user_id", "codes")
    drawn = tied.orderBy("tie", "user_id").limit(settings.max_clients).select("tie", "codes").repartition(1)

    def fit(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        import pyarrow as pa

        for phase, content in enumerate(_trained(pa.Table.from_batches(batches), meaning.value, settings)):
            yield pa.RecordBatch.from_pydict(
                {"phase": pa.array([phase], pa.int32()), "content": pa.array([content], pa.binary())}
            )

    earlier, whole = drawn.mapInArrow(fit, _TRAINED).orderBy("phase").collect()
    return SequenceModel.from_bytes(earlier["content"]), SequenceModel.from_bytes(whole["content"])


def _trained(table: pa.Table, meaning: NDArray[np.float32], settings: SequenceSettings) -> Iterator[bytes]:
    import torch

    from isrf_pipeline.sequences.next_item import Phase
    from isrf_pipeline.sequences.training import train_in_phases

    # Spark gives a worker one thread for numeric libraries; no other task of this stage wants the cores.
    torch.set_num_threads(os.cpu_count() or 1)
    lists = table.sort_by("tie").column("codes").combine_chunks()
    lengths = np.diff(lists.offsets.to_numpy()).astype(np.int64)
    newest_first = lists.flatten().to_numpy(zero_copy_only=False).astype(np.int32)
    # All reversed: histories from the last client to the first, each oldest first.
    codes, lengths = newest_first[::-1].copy(), lengths[::-1].copy()
    is_last = np.zeros(len(codes), bool)
    is_last[np.cumsum(lengths)[lengths > 0] - 1] = True
    earlier = Phase(codes[~is_last], np.maximum(lengths - 1, 0), settings.epochs)
    whole = Phase(codes, lengths, settings.further_epochs)
    for model in train_in_phases([earlier, whole], meaning, settings):
        yield model.to_bytes()
