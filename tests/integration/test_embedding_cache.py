"""Vectors of texts are kept in the lake: what one night encoded the next one finds."""

from __future__ import annotations

import datetime
import hashlib
from typing import TYPE_CHECKING

import pytest

from isrf_pipeline.config import Settings
from isrf_pipeline.config.settings import EmbeddingSettings
from isrf_pipeline.embedding.cache import encoder_identity
from isrf_pipeline.embedding.encoder import embed_texts
from isrf_pipeline.lake import Lake
from isrf_pipeline.lake.tables import EMBEDDINGS, ITEM_FEATURES, ITEMS
from isrf_pipeline.stages import reason_items
from isrf_pipeline.stages.context import StageContext

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

pytestmark = pytest.mark.spark

#: One worker, so that the tests load the encoder once.
BUNDLED = EmbeddingSettings(partitions=1)
#: Fails where anything is encoded; what was stored under its name is found all the same.
ABSENT = EmbeddingSettings(model="/no/such/encoder", max_tokens=32)
SCARF, CLOAK = "Silk scarf", "Wool cloak"

Vectors = dict[str, list[float] | None]


@pytest.fixture
def ctx(lake: Lake, lake_settings: Settings) -> StageContext:
    return night(lake, lake_settings, "first")


def night(lake: Lake, settings: Settings, run_id: str) -> StageContext:
    """A stage of a run that knows of the lake only what lies in it."""
    return StageContext(
        lake.spark, settings, Lake(lake.spark, settings.lake), datetime.date(2026, 6, 30), run_id
    )


def embedded(ctx: StageContext, settings: EmbeddingSettings, *texts: str | None) -> Vectors:
    """Vectors of rows named r0, r1, ..., one for each of ``texts``."""
    rows = [(f"r{place}", text) for place, text in enumerate(texts)]
    found = embed_texts(
        ctx.spark.createDataFrame(rows, "id string, words string"), "id", "words", settings, ctx
    ).collect()
    assert sorted(row["id"] for row in found) == sorted(name for name, _ in rows)
    return {row["id"]: row["embedding"] for row in found}


def stored(lake: Lake) -> set[tuple[str, str, str]]:
    rows = lake.read(EMBEDDINGS).select("text_hash", "encoder", "run_id").collect()
    assert len(set(rows)) == len(rows)
    return {tuple(row) for row in rows}


def hashed(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def store(ctx: StageContext, *rows: tuple[str, list[float], str]) -> None:
    """Write vectors of ``ABSENT``: text, embedding, run_id."""
    full = [(hashed(text), "/no/such/encoder, 32 tokens", vector, run) for text, vector, run in rows]
    ctx.lake.append(EMBEDDINGS, ctx.spark.createDataFrame(full, EMBEDDINGS.ddl()))


def test_the_next_night_encodes_new_texts_only(
    lake: Lake, lake_settings: Settings, ctx: StageContext
) -> None:
    first = embedded(ctx, BUNDLED, SCARF, CLOAK)
    assert all(vector is not None and len(vector) == 384 for vector in first.values())
    version = ctx.lake.version(EMBEDDINGS)

    second = night(lake, lake_settings, "second")
    assert embedded(second, BUNDLED, SCARF, CLOAK) == first
    assert second.lake.version(EMBEDDINGS) == version
    assert second.counters.rows_out == 0

    grown = embedded(second, BUNDLED, SCARF, CLOAK, "Leather glove")
    assert {name: grown[name] for name in first} == first
    assert second.counters.rows_out == 1
    bundled = "all-MiniLM-L6-v2, 64 tokens"
    assert stored(second.lake) == {
        (hashed(SCARF), bundled, "first"),
        (hashed(CLOAK), bundled, "first"),
        (hashed("Leather glove"), bundled, "second"),
    }
    assert second.lake.version(EMBEDDINGS) == version + 1


def test_kept_vectors_are_those_of_the_encoder(ctx: StageContext) -> None:
    uncached = BUNDLED.model_copy(update={"cache": False})
    direct = embedded(ctx, uncached, SCARF, CLOAK, SCARF)
    assert not ctx.lake.exists(EMBEDDINGS)
    assert embedded(ctx, BUNDLED, SCARF, CLOAK, SCARF) == direct


def test_equal_texts_are_stored_once_and_rows_without_text_have_no_vector(ctx: StageContext) -> None:
    found = embedded(ctx, BUNDLED, SCARF, None, SCARF)
    assert found["r0"] is not None and found["r0"] == found["r2"]
    assert found["r1"] is None
    assert ctx.counters.rows_out == len(stored(ctx.lake)) == 1


def test_another_cut_is_another_encoder(ctx: StageContext) -> None:
    long = " ".join(["silk scarf with a hand-rolled hem"] * 10)
    cut = {
        tokens: embedded(ctx, BUNDLED.model_copy(update={"max_tokens": tokens}), long) for tokens in (64, 16)
    }
    assert cut[64] != cut[16]
    assert {encoder for _, encoder, _ in stored(ctx.lake)} == {
        "all-MiniLM-L6-v2, 64 tokens",
        "all-MiniLM-L6-v2, 16 tokens",
    }
    assert embedded(ctx, BUNDLED, long) == cut[64]


def test_no_encoder_is_needed_where_nothing_is_missing(ctx: StageContext) -> None:
    store(ctx, (SCARF, [0.6, 0.8], "earlier"))
    version = ctx.lake.version(EMBEDDINGS)
    assert embedded(ctx, ABSENT, SCARF, None) == {"r0": pytest.approx([0.6, 0.8]), "r1": None}
    assert ctx.lake.version(EMBEDDINGS) == version
    with pytest.raises(Exception, match="/no/such/encoder"):
        embedded(ctx, ABSENT, SCARF, CLOAK)
    assert ctx.lake.version(EMBEDDINGS) == version


def test_a_text_that_two_runs_stored_counts_once(ctx: StageContext) -> None:
    store(ctx, (SCARF, [0.0, 1.0], "b"), (CLOAK, [1.0, 0.0], "b"))
    store(ctx, (SCARF, [1.0, 0.0], "a"))
    assert embedded(ctx, ABSENT, SCARF, CLOAK) == {"r0": [1.0, 0.0], "r1": [1.0, 0.0]}


def test_a_catalogue_that_did_not_change_is_not_encoded_again(
    spark: SparkSession, lake: Lake, lake_settings: Settings
) -> None:
    settings = lake_settings.model_copy(
        update={"reasoning": lake_settings.reasoning.model_copy(update={"backend": "none"})}
    )
    items = [
        (name, title, "House", ["Women"], None, 10.0, {"material": "silk"}, True, None, name)
        for name, title in (("i1", SCARF), ("i2", CLOAK))
    ]
    lake.overwrite(ITEMS, spark.createDataFrame(items, ITEMS.ddl()))
    features, versions = [], []
    for run_id in ("first", "second"):
        ctx = night(lake, settings, run_id)
        reason_items.run(ctx)
        features.append(sorted(ctx.lake.read(ITEM_FEATURES).select("item_id", "embedding").collect()))
        versions.append(ctx.lake.version(EMBEDDINGS))
    assert features[0] == features[1]
    assert versions[0] == versions[1]
    # Two titles, two whole texts, and the brand, category and material that both share.
    assert len(stored(ctx.lake)) == 7


@pytest.mark.parametrize("other", [{"pooling": "cls"}, {"runner": "vllm"}, {"max_tokens": 128}])
def test_another_encoder_has_vectors_of_its_own(other: dict[str, object]) -> None:
    assert encoder_identity(EmbeddingSettings.model_validate(other)) != encoder_identity(EmbeddingSettings())
