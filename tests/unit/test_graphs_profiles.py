from __future__ import annotations

import numpy as np
import pyarrow as pa

from isrf_pipeline.graphs.profiles import profiles_of

_EMBEDDINGS = np.array([[1, 0], [0, 1]], np.float32)
_CODES = {"silk": 0, "steel": 1}


def _batch(
    rows: list[tuple[str, list[str] | None, list[float] | None, list[float] | None]],
) -> pa.RecordBatch:
    columns = list(zip(*rows, strict=True))
    types = (pa.string(), pa.list_(pa.string()), pa.list_(pa.float32()), pa.list_(pa.float32()))
    arrays = [pa.array(column, type_) for column, type_ in zip(columns, types, strict=True)]
    return pa.RecordBatch.from_arrays(arrays, names=["user_id", "items", "weights", "text"])


def _profiles(batch: pa.RecordBatch, text_weight: float = 1.0) -> dict[str, list[float]]:
    rows = profiles_of(batch, _CODES, _EMBEDDINGS, 0.5, text_weight).to_pydict()
    return dict(zip(rows["user_id"], rows["embedding"], strict=True))


def test_newer_items_and_stronger_events_weigh_more() -> None:
    profile = _profiles(_batch([("a", ["silk", "steel"], [0.6, 1.0], None)]))["a"]
    expected = np.array([0.6, 0.5]) / np.hypot(0.6, 0.5)
    assert np.allclose(profile, expected, atol=1e-6)


def test_an_item_without_embedding_still_counts_as_a_step() -> None:
    profile = _profiles(_batch([("a", ["silk", "unknown", "steel"], [1.0, 1.0, 1.0], None)]))["a"]
    assert np.allclose(profile, np.array([1, 0.25]) / np.hypot(1, 0.25), atol=1e-6)


def test_text_is_added_to_the_unit_mean_and_may_stand_alone() -> None:
    profiles = _profiles(
        _batch(
            [
                ("a", ["silk"], [0.3], [0.0, 1.0]),
                ("b", None, None, [0.0, 1.0]),
                ("c", ["unknown"], [1.0], None),
            ]
        ),
        2.0,
    )
    assert np.allclose(profiles["a"], np.array([1, 2]) / np.sqrt(5), atol=1e-6)
    assert np.allclose(profiles["b"], [0, 1])
    assert "c" not in profiles


def test_a_slice_of_a_batch_gives_the_same_profiles() -> None:
    batch = _batch(
        [("a", ["silk"], [1.0], None), ("b", ["steel"], [1.0], [0.6, 0.8]), ("c", ["silk"], [1.0], None)]
    )
    whole = _profiles(batch)
    assert _profiles(batch.slice(1)) == {"b": whole["b"], "c": whole["c"]}
