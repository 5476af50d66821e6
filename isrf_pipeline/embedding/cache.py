"""Embeddings kept in the lake by the content of their texts, so that a night encodes new texts only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from isrf_pipeline.config.settings import EmbeddingSettings
from isrf_pipeline.lake.tables import EMBEDDINGS
from isrf_pipeline.stages.context import StageContext

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

_BUNDLED_NAME = "all-MiniLM-L6-v2"


def encoder_identity(settings: EmbeddingSettings) -> str:
    """Name of whatever decides which vector a text has: the model, its pooling, its runner, where it cuts texts.

    A folder is known by its path: another model needs another folder.
    """
    model = _BUNDLED_NAME if settings.model == "bundled" else settings.model
    parts = [model, f"{settings.max_tokens} tokens"]
    # Named only where they are not the default, so that lakes keep the vectors that they have.
    if settings.pooling != "mean":
        parts.append(settings.pooling)
    if settings.dtype != "float32":
        parts.append(settings.dtype)
    if settings.runner != "transformers":
        parts.append(settings.runner)
    return ", ".join(parts)


@dataclass(frozen=True)
class EmbeddingCache:
    """Rows of reasoning.embeddings that one encoder made.

    Attributes
    ----------
    ctx
        The stage that reads and adds.
    encoder
        See :func:`encoder_identity`.
    """

    ctx: StageContext
    encoder: str

    def read(self) -> DataFrame:
        """What the lake holds at this moment: text_hash and embedding, one row for each text.

        Rows added later are not in it, and adding drops Spark's copies of what was derived from it.
        """
        from pyspark.sql import functions as F

        self.ctx.lake.create(EMBEDDINGS)
        rows = self.ctx.read(EMBEDDINGS).where(F.col("encoder") == self.encoder)
        # Two runs at once may both have added a text; joins with either's rows must not multiply.
        first = F.min(F.struct("run_id", "embedding")).alias("first")
        return rows.groupBy("text_hash").agg(first).select("text_hash", "first.embedding")

    def add(self, vectors: DataFrame) -> None:
        """Append ``vectors`` (text_hash, embedding) in one commit."""
        from pyspark.sql import functions as F

        made_by = {"encoder": F.lit(self.encoder), "run_id": F.lit(self.ctx.run_id)}
        self.ctx.append(EMBEDDINGS, vectors.withColumns(made_by))
