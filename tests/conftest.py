"""Fixtures that several tiers share; tests under ``tests/unit`` use none that starts Spark."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from isrf_pipeline.config import Settings
from isrf_pipeline.lake import Lake

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


@pytest.fixture(scope="session")
def spark(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SparkSession]:
    """One small local session with Delta and GraphFrames, as the pipeline itself builds it."""
    from isrf_pipeline.session import build_session

    folder = tmp_path_factory.mktemp("spark")
    settings = Settings.model_validate(
        {
            "lake": {"root": str(folder / "lake")},
            "spark": {
                "master": "local[2]",
                "app_name": "isrf-tests",
                "driver_memory": "3g",
                "shuffle_partitions": 2,
                "conf": {
                    "spark.sql.warehouse.dir": str(folder / "warehouse"),
                    "spark.local.dir": str(folder / "local"),
                    "spark.checkpoint.dir": str(folder / "checkpoints"),
                    "spark.default.parallelism": "2",
                },
            },
        }
    )
    session = build_session(settings)
    yield session
    session.stop()


@pytest.fixture
def lake_root(tmp_path: Path) -> Path:
    """Root of a lake that does not exist yet."""
    return tmp_path / "lake"


@pytest.fixture
def lake_settings(lake_root: Path) -> Settings:
    """Default settings with the lake below the test's own folder."""
    return Settings.model_validate({"environment": "test", "lake": {"root": str(lake_root)}})


@pytest.fixture
def lake(spark: SparkSession, lake_settings: Settings) -> Lake:
    """An empty lake below the test's own folder."""
    return Lake(spark, lake_settings.lake)
