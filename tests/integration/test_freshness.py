"""A repeated night runs what failed and what its inputs make stale, and nothing else."""

from __future__ import annotations

import dataclasses
import datetime
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from isrf_pipeline.config import EffectiveSettings, load_settings
from isrf_pipeline.config.settings import IngestSettings
from isrf_pipeline.ingest.fingerprints import source_fingerprints
from isrf_pipeline.lake import Lake, tables
from isrf_pipeline.stages.context import Stage, StageContext
from isrf_pipeline.stages.nightly import run_stages

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

NIGHT = datetime.date(2026, 6, 30)


@dataclass
class Pipeline:
    """Three stages in a row: a source to clients, clients to field weights and profiles, these to metrics."""

    source: int = 1
    broken: bool = False
    ran: list[str] = field(default_factory=list)

    def stages(self) -> list[Stage]:
        return [
            Stage("ingest", (), (tables.CLIENTS,), self._ingest, lambda ctx: {"source:clients": self.source}),
            Stage("build_user_graph", (tables.CLIENTS,), (tables.PROFILES,), self._graph),
            Stage("optimize", (tables.PROFILES,), (tables.PROFILES,), self._rounds),
            Stage("recommend", (tables.PROFILES,), (tables.SEGMENTS,), self._recommend),
        ]

    def _ingest(self, ctx: StageContext) -> None:
        self.ran.append("ingest")
        ctx.write(tables.CLIENTS, ctx.spark.createDataFrame([("u", {}, True)], tables.CLIENTS.ddl()))

    def _graph(self, ctx: StageContext) -> None:
        self.ran.append("build_user_graph")
        ctx.read(tables.CLIENTS)
        ctx.write(tables.PROFILES, ctx.spark.createDataFrame([("u", 0, [1.0])], tables.PROFILES.ddl()))

    def _rounds(self, ctx: StageContext) -> None:
        self.ran.append("optimize")
        rows = ctx.read(tables.PROFILES).where("round = 0").selectExpr("user_id", "1 AS round", "embedding")
        ctx.lake.overwrite(tables.PROFILES, rows, "round >= 1", tables.ROUND_NOTE)

    def _recommend(self, ctx: StageContext) -> None:
        self.ran.append("recommend")
        ctx.read(tables.PROFILES)
        if self.broken:
            raise RuntimeError("out of luck")
        rows = [(ctx.run_date, "s1", "name", "text", 1, [])]
        ctx.write(tables.SEGMENTS, ctx.spark.createDataFrame(rows, tables.SEGMENTS.ddl()))


@pytest.fixture
def effective(tmp_path: Path, lake_root: Path) -> EffectiveSettings:
    file = tmp_path / "test.yaml"
    file.write_text(f"lake:\n  root: {lake_root}\n", encoding="utf-8")
    return load_settings(file)


def test_a_repeated_night_runs_only_what_is_stale(
    spark: SparkSession, effective: EffectiveSettings, lake: Lake
) -> None:
    pipeline = Pipeline(broken=True)

    def night(run_id: str, settings: EffectiveSettings = effective, day: datetime.date = NIGHT) -> list[str]:
        pipeline.ran = []
        run_stages(spark, settings, day, run_id, pipeline.stages(), skip_fresh=True)
        return pipeline.ran

    with pytest.raises(RuntimeError):
        night("r1")
    assert pipeline.ran == ["ingest", "build_user_graph", "optimize", "recommend"]

    pipeline.broken = False
    assert night("r2") == ["recommend"]
    assert night("r3") == []
    records = lake.read(tables.RUNS).collect()
    # Optimize reads the profiles of round 0 and adds one of round 1.
    volumes = {(row["run_id"], row["stage"]): row["rows_in"] for row in records}
    assert [volumes["r1", "optimize"], volumes["r2", "recommend"], volumes["r3", "recommend"]] == [1, 2, 0]
    states = {(row["run_id"], row["stage"]): row["status"] for row in records}
    assert [states["r2", stage] for stage in ("ingest", "build_user_graph", "optimize", "recommend")] == [
        *("skipped", "skipped", "skipped", "done")
    ]
    assert {states["r3", stage] for stage in ("ingest", "recommend")} == {"skipped"}

    # Another night waits in the same tables, and new source files make everything behind them stale.
    after = NIGHT + datetime.timedelta(days=1)
    assert night("r4", day=after) == ["ingest", "build_user_graph", "optimize", "recommend"]
    assert night("r5", day=after) == []
    pipeline.source = 2
    assert night("r6", day=after) == ["ingest", "build_user_graph", "optimize", "recommend"]

    # Somebody else has written a table between two stages.
    lake.overwrite(tables.PROFILES, spark.createDataFrame([("v", 0, [1.0])], tables.PROFILES.ddl()))
    assert night("r7", day=after) == ["build_user_graph", "optimize", "recommend"]

    other = dataclasses.replace(effective, config_hash="other settings")
    assert night("r8", other, after) == ["ingest", "build_user_graph", "optimize", "recommend"]


def test_a_source_has_the_same_fingerprint_until_a_file_changes(spark: SparkSession, tmp_path: Path) -> None:
    folder = tmp_path / "views"
    folder.mkdir()
    (folder / "one.csv").write_text("user,item\n", encoding="utf-8")
    settings = IngestSettings.model_validate(
        {
            "interactions": [
                {
                    "name": "views",
                    "path": str(folder),
                    "format": "csv",
                    "event_type": "view",
                    "columns": {"user_id": "user", "item_id": "item", "ts": "at"},
                }
            ],
            "clients": {
                "path": str(tmp_path / "nowhere.csv"),
                "format": "csv",
                "columns": {"user_id": "user"},
            },
        }
    )
    first = source_fingerprints(spark, settings)
    # What cannot be listed has none: ingest will say why it cannot be read.
    assert set(first) == {"source:interactions.views"}
    assert source_fingerprints(spark, settings) == first
    (folder / "two.csv").write_text("user,item\n", encoding="utf-8")
    second = source_fingerprints(spark, settings)
    assert second != first
    assert 0 <= second["source:interactions.views"] < 2**63
