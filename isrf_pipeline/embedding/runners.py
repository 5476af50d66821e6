"""Chooses what encodes texts in a worker process, and keeps it as long as the process lives."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

from isrf_pipeline.config.settings import EmbeddingSettings

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class TextEncoder(Protocol):
    """Turns texts into vectors."""

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Unit vectors (texts, dimensions) of ``texts``, in their order."""
        ...


_ENCODERS: dict[str, TextEncoder] = {}


def encoder_of_this_process(settings: EmbeddingSettings) -> TextEncoder:
    """Return the encoder for ``settings``, loaded if this process has none yet.

    Raises
    ------
    EnvironmentMismatchError
        If the encoder or what runs it is not there.
    """
    key = settings.model_dump_json(
        include={"runner", "model", "pooling", "dtype", "batch_size", "max_tokens", "gpus"}
    )
    if key not in _ENCODERS:
        _ENCODERS[key] = _load(settings)
    return _ENCODERS[key]


def _load(settings: EmbeddingSettings) -> TextEncoder:
    if settings.runner == "vllm":
        from isrf_pipeline.embedding.vllm_encoder import VllmEncoder

        return VllmEncoder(settings)
    from isrf_pipeline.embedding.model import SentenceEncoder

    return SentenceEncoder(settings)
