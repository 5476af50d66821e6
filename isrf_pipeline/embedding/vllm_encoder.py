"""A sentence encoder on vLLM's pooling mode: for encoders too large for a core, and for GPUs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from isrf_pipeline.config.settings import EmbeddingSettings
from isrf_pipeline.embedding.model import encoder_source
from isrf_pipeline.environment.vllm import import_vllm, one_line, take_gpus
from isrf_pipeline.errors import EnvironmentMismatchError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class VllmEncoder:
    """Encodes short texts as unit vectors; the last digits depend on which texts are encoded together.

    Parameters
    ----------
    settings
        Model, pooling, batch size, longest text, GPUs.

    Raises
    ------
    EnvironmentMismatchError
        If the encoder or vLLM is not there, or vLLM does not start with it.
    """

    def __init__(self, settings: EmbeddingSettings) -> None:
        self._settings = settings
        take_gpus(settings.gpus, "embedding.gpus")
        source = encoder_source(settings.model)
        vllm = import_vllm(
            None, 1, Path(source).is_dir(), "run make setup, or set embedding.runner to transformers"
        )
        from vllm.config import PoolerConfig  # type: ignore[import-not-found, unused-ignore]

        try:
            self._llm: Any = vllm.LLM(
                model=source,
                runner="pooling",
                pooler_config=PoolerConfig(pooling_type=settings.pooling.upper(), use_activation=True),
                dtype=settings.dtype,
                max_model_len=settings.max_tokens,
                max_num_seqs=settings.batch_size,
                tensor_parallel_size=max(settings.gpus, 1),
                enforce_eager=True,
                disable_log_stats=True,
                use_tqdm_on_load=False,
            )
            self._tokenizer: Any = self._llm.get_tokenizer()
        except Exception as error:
            raise EnvironmentMismatchError(
                f"embedding.model {settings.model}",
                f"vLLM's pooling mode did not start with it ({one_line(error)})",
                "name an encoder that vLLM knows, or set embedding.runner to transformers",
            ) from error

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Unit vectors of ``texts``.

        Returns
        -------
        ndarray
            (texts, dimensions), in the order of ``texts``.
        """
        import numpy as np

        tokens = self._tokenizer(list(texts), truncation=True, max_length=self._settings.max_tokens)
        outputs = self._llm.embed([{"prompt_token_ids": row} for row in tokens["input_ids"]], use_tqdm=False)
        vectors = np.array([output.outputs.embedding for output in outputs], dtype=np.float32)
        unit: NDArray[np.float32] = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
        return unit
