"""Embeds distinct texts in Spark's Python workers, one encoder a worker and one thread an encoder."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from isrf_pipeline.config.settings import EmbeddingSettings
from isrf_pipeline.embedding.model import encoder_of_this_process
from isrf_pipeline.reasoning.workers import worker_role

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import DataFrame

#: Pool of the workers that hold an encoder.
ENCODER_ROLE = "embedding"


def embed_texts(frame: DataFrame, key: str, text: str, settings: EmbeddingSettings) -> DataFrame:
    """Embed the column ``text``; equal texts are encoded once.

    Parameters
    ----------
    frame
        Any frame with both columns; rows without a text get a null embedding.
    key
        Column that identifies a row.
    text
        Column to embed.
    settings
        The encoder, its batches and how many work in parallel.

    Returns
    -------
    DataFrame
        Columns ``key`` and embedding (array<float>, unit length; 384 numbers for the bundled encoder).

    Raises
    ------
    EnvironmentMismatchError
        When rows are computed: if the encoder or what runs it is not installed.
    """
    from pyspark.sql import functions as F

    spark = frame.sparkSession
    partitions = settings.partitions or spark.sparkContext.defaultParallelism
    texts = frame.where(F.col(text).isNotNull()).select(F.col(text).alias("text")).distinct()
    with worker_role(spark, ENCODER_ROLE):
        encoded = texts.repartition(partitions, "text").mapInArrow(
            _encoding(settings), "text string, embedding array<float>"
        )
    return frame.select(key, F.col(text).alias("text")).join(encoded, "text", "left").select(key, "embedding")


def _encoding(
    settings: EmbeddingSettings,
) -> Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    def encode(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        import numpy as np
        import pyarrow as pa

        encoder = None
        for batch in batches:
            if batch.num_rows == 0:
                continue
            encoder = encoder or encoder_of_this_process(settings)
            texts = batch.column("text").to_pylist()
            vectors = encoder.encode(texts)
            flat = pa.array(np.ascontiguousarray(vectors, dtype=np.float32).reshape(-1))
            offsets = pa.array(np.arange(0, vectors.size + 1, vectors.shape[1]), pa.int32())
            yield pa.RecordBatch.from_arrays(
                [batch.column("text"), pa.ListArray.from_arrays(offsets, flat)], ["text", "embedding"]
            )

    return encode
