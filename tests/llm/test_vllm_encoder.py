"""The bundled encoder on vLLM's pooling mode, in a Spark worker."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from isrf_pipeline.config.settings import EmbeddingSettings
from isrf_pipeline.embedding.encoder import ENCODER_ROLE, embed_texts
from isrf_pipeline.embedding.model import SentenceEncoder
from isrf_pipeline.reasoning.workers import end_workers

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

pytestmark = [pytest.mark.llm, pytest.mark.slow, pytest.mark.spark]

TEXTS = ["Silk scarf", "Calf leather tote, made in small numbers", "Wool coat " * 80, "Étole en soie"]


def test_vllm_gives_the_vectors_that_transformers_gives(
    spark: SparkSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    # An encoder takes one thread for its process: commands that later tests start must not inherit that.
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    rows = spark.createDataFrame([(str(n), text) for n, text in enumerate(TEXTS)], "id string, text string")
    settings = EmbeddingSettings(runner="vllm")
    try:
        found = embed_texts(rows, "id", "text", settings).orderBy("id").collect()
    finally:
        end_workers(spark, ENCODER_ROLE)
    ours = np.array([row["embedding"] for row in found])
    theirs = SentenceEncoder(EmbeddingSettings()).encode(TEXTS)
    np.testing.assert_allclose(ours, theirs, atol=1e-4)
