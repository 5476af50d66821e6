"""Fits the generator where the clients' histories are: in one task of Spark, which alone sees them all."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from isrf_pipeline.config.generator_settings import GeneratorSettings
from isrf_pipeline.generator.model import GeneratorModel

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark import Broadcast
    from pyspark.sql import DataFrame

_TRAINED = "phase int, content binary, seconds string"


@dataclass(frozen=True)
class ItemMeaning:
    """What fitting needs to know of items, small enough to broadcast.

    Attributes
    ----------
    meaning
        (items, dimensions) embeddings of the items' texts.
    spread
        (items, dimensions); see :func:`isrf_pipeline.generator.contents.spread_meaning`.
    """

    meaning: NDArray[np.float32]
    spread: NDArray[np.float32]


@dataclass(frozen=True)
class FittedGenerator:
    """Trained generators and what they took.

    Attributes
    ----------
    earlier
        Trained on what precedes each client's last training event; None where it was not asked for.
    whole
        Trained on all training events.
    quantisation_seconds
        Seconds that the semantic ids took.
    epoch_seconds
        Seconds of each pass over the histories.
    """

    earlier: GeneratorModel | None
    whole: GeneratorModel
    quantisation_seconds: float
    epoch_seconds: list[float]


def fit_generator(
    histories: DataFrame,
    items: Broadcast[ItemMeaning],
    settings: GeneratorSettings,
    with_earlier: bool = True,
) -> FittedGenerator:
    """Find semantic ids and train the generator.

    With ``with_earlier`` it is trained on what precedes each client's last training event, and then on all training
    events: the ranker learns from that last event and must not be shown scores of a model that knows it. Semantic ids
    are then out of what precedes it, too.

    Parameters
    ----------
    histories
        user_id and codes (array<int>), newest first; of training events only.
    items
        Meaning of the items, broadcast.
    settings
        Shape and pace, and how many clients it learns from.
    with_earlier
        Whether the earlier model is wanted.
    """
    from pyspark.sql import functions as F

    tied = histories.select(F.xxhash64("user_id").alias("tie"), "user_id", "codes")
    drawn = tied.orderBy("tie", "user_id").limit(settings.max_clients).select("tie", "codes").repartition(1)

    def fit(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        import pyarrow as pa

        table = pa.Table.from_batches(batches)
        for phase, (content, seconds) in enumerate(_trained(table, items.value, settings, with_earlier)):
            yield pa.RecordBatch.from_pydict(
                {
                    "phase": pa.array([phase], pa.int32()),
                    "content": pa.array([content], pa.binary()),
                    "seconds": [json.dumps(seconds)],
                }
            )

    rows = drawn.mapInArrow(fit, _TRAINED).orderBy("phase").collect()
    models = [GeneratorModel.from_bytes(row["content"]) for row in rows]
    seconds = json.loads(rows[0]["seconds"])
    return FittedGenerator(
        models[0] if with_earlier else None, models[-1], seconds["quantisation"], seconds["epochs"]
    )


def _trained(
    table: pa.Table, items: ItemMeaning, settings: GeneratorSettings, with_earlier: bool
) -> list[tuple[bytes, dict[str, object]]]:
    import torch

    from isrf_pipeline.generator.contents import ids_of_items
    from isrf_pipeline.generator.training import train_generator
    from isrf_pipeline.sequences.next_item import Phase

    # Spark gives a worker one thread for numeric libraries; no other task of this stage wants the cores.
    torch.set_num_threads(os.cpu_count() or 1)
    lists = table.sort_by("tie").column("codes").combine_chunks()
    lengths = np.diff(lists.offsets.to_numpy()).astype(np.int64)
    newest_first = lists.flatten().to_numpy(zero_copy_only=False).astype(np.int32)
    # All reversed: histories from the last client to the first, each oldest first.
    codes, lengths = newest_first[::-1].copy(), lengths[::-1].copy()
    phases = [Phase(codes, lengths, settings.further_epochs if with_earlier else settings.epochs)]
    if with_earlier:
        is_last = np.zeros(len(codes), bool)
        is_last[np.cumsum(lengths)[lengths > 0] - 1] = True
        phases.insert(0, Phase(codes[~is_last], np.maximum(lengths - 1, 0), settings.epochs))
    started = time.perf_counter()
    ids = ids_of_items(phases[0], items.meaning, settings)
    seconds: dict[str, object] = {"quantisation": time.perf_counter() - started}
    epochs: list[float] = []
    models = train_generator(
        phases,
        ids,
        items.meaning,
        items.spread,
        settings,
        lambda phase, epoch, loss, spent: epochs.append(spent),
    )
    seconds["epochs"] = epochs
    return [(model.to_bytes(), seconds) for model in models]
