"""Field embeddings of items, by hand."""

from __future__ import annotations

import pyarrow as pa
import pytest

from isrf_pipeline.embedding.fields import fields_of

WEIGHTS = {"title": 1.0, "attributes": 1.0, "feature": 0.5, "whole": 1.0}


def part(field: str, x: float, y: float) -> dict[str, object]:
    return {"field": field, "text": f"{field} {x} {y}", "embedding": [x, y]}


def batch(*items: list[dict[str, object]]) -> pa.RecordBatch:
    entry = pa.struct([("field", pa.string()), ("text", pa.string()), ("embedding", pa.list_(pa.float32()))])
    return pa.RecordBatch.from_pydict(
        {"item_id": [f"i{k}" for k in range(len(items))], "parts": pa.array(list(items), pa.list_(entry))}
    )


def test_fields_add_up_to_unit_vectors() -> None:
    rows = fields_of(
        batch(
            [part("attributes", 1, 0), part("attributes", 0.6, 0.8), part("title", 0, 1)],
            [part("feature", 0, 1), part("title", 1, 0), part("whole", 0, 1)],
        ),
        WEIGHTS,
    ).to_pylist()
    assert [row["item_id"] for row in rows] == ["i0", "i1"]
    # (1, 0) + (.6, .8) = (1.6, .8), of length 1.78885.
    assert rows[0]["attribute_embedding"] == pytest.approx([0.894427, 0.447214])
    assert rows[0]["title_embedding"] == [0, 1]
    assert rows[0]["feature_embedding"] is None
    # (0, 1) + (.894427, .447214), of length 1.70130.
    assert rows[0]["embedding"] == pytest.approx([0.525731, 0.850651])
    assert rows[1]["attribute_embedding"] is None
    assert rows[1]["whole_embedding"] == [0, 1]
    # (1, 0) + .5 (0, 1), of length 1.11803.
    assert rows[1]["embedding"] == pytest.approx([0.894427, 0.447214])


def test_a_slice_of_a_batch_is_read_from_its_own_start() -> None:
    both = batch([part("title", 1, 0)], [part("title", 0, 1), part("attributes", 0, 1)])
    (row,) = fields_of(both.slice(1), WEIGHTS).to_pylist()
    assert row["title_embedding"] == [0, 1] and row["embedding"] == [0, 1]
