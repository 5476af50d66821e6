"""Embeds distinct texts in Spark's Python workers, one encoder a worker."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from isrf_pipeline.config.settings import EmbeddingSettings
from isrf_pipeline.embedding.cache import EmbeddingCache, encoder_identity
from isrf_pipeline.embedding.runners import encoder_of_this_process
from isrf_pipeline.environment.gpus import gpu_profile
from isrf_pipeline.reasoning.workers import worker_role
from isrf_pipeline.stages.context import StageContext

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import DataFrame

#: Pool of the workers that hold an encoder.
ENCODER_ROLE = "embedding"


def embed_texts(
    frame: DataFrame, key: str, text: str, settings: EmbeddingSettings, ctx: StageContext | None = None
) -> DataFrame:
    """Embed the column ``text``; equal texts are encoded once, and with the cache once for all nights.

    Parameters
    ----------
    frame
        Any frame with both columns; rows without a text get a null embedding. It is computed twice: persist what
        is expensive.
    key
        Column that identifies a row.
    text
        Column to embed.
    settings
        The encoder, its batches, how many work in parallel and whether vectors are kept.
    ctx
        The stage whose lake keeps the vectors, if ``settings.cache`` says so; texts that it lacks are then encoded
        and stored before this returns. None encodes all texts when rows are computed.

    Returns
    -------
    DataFrame
        Columns ``key`` and embedding (array<float>, unit length; 384 numbers for the bundled encoder).

    Raises
    ------
    EnvironmentMismatchError
        When texts are encoded: if the encoder or what runs it is not installed.
    """
    from pyspark.sql import functions as F

    text_hash = F.sha2(F.col(text), 256).alias("text_hash")
    texts = frame.where(F.col(text).isNotNull()).select(text_hash, F.col(text).alias("text")).distinct()
    if ctx is not None and settings.cache:
        vectors = _kept_vectors(texts, settings, EmbeddingCache(ctx, encoder_identity(settings)))
    else:
        vectors = _encoded(texts, settings, _most_encoders(texts, settings))
    return frame.select(key, text_hash).join(vectors, "text_hash", "left").select(key, "embedding")


def _kept_vectors(texts: DataFrame, settings: EmbeddingSettings, cache: EmbeddingCache) -> DataFrame:
    """Rows of ``cache`` once it has all ``texts``."""
    kept = cache.read()
    # Persisted, for it is counted and then encoded.
    missing = texts.join(kept, "text_hash", "left_anti").persist()
    try:
        count = missing.count()
        if count == 0:
            return kept
        # A few new texts are no work for an encoder on every core, nor worth a file of each.
        encoders = min(_most_encoders(texts, settings), math.ceil(count / settings.batch_size))
        cache.add(_encoded(missing, settings, encoders))
    finally:
        missing.unpersist()
    return cache.read()


def _most_encoders(texts: DataFrame, settings: EmbeddingSettings) -> int:
    cores = texts.sparkSession.sparkContext.defaultParallelism
    # An encoder of vLLM takes all cores of its machine, or a GPU.
    return settings.partitions or (1 if settings.runner == "vllm" else cores)


def _encoded(texts: DataFrame, settings: EmbeddingSettings, encoders: int) -> DataFrame:
    """Columns text_hash and embedding of ``texts`` (text_hash, text), by so many encoders at a time."""
    profile = gpu_profile(texts.sparkSession, settings.gpus, "embedding.gpus")
    with worker_role(texts.sparkSession, ENCODER_ROLE):
        return texts.repartition(encoders, "text").mapInArrow(
            _encoding(settings), "text_hash string, embedding array<float>", profile=profile
        )


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
            vectors = encoder.encode(batch.column("text").to_pylist())
            flat = pa.array(np.ascontiguousarray(vectors, dtype=np.float32).reshape(-1))
            offsets = pa.array(np.arange(0, vectors.size + 1, vectors.shape[1]), pa.int32())
            yield pa.RecordBatch.from_arrays(
                [batch.column("text_hash"), pa.ListArray.from_arrays(offsets, flat)],
                ["text_hash", "embedding"],
            )

    return encode
