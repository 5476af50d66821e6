"""A night that loses an executor in the midst of its rounds ends in the tables of an undisturbed one.

Spark computes again elsewhere what was lost. What is kept on executors alone it cannot, and then the run says so in one
line and the next one goes on; which of the two happens depends on what that executor had.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from isrf_pipeline.config.settings import LakeSettings
from isrf_pipeline.lake import Lake, Table, tables
from isrf_pipeline.stages.registry import STAGE_NAMES

if TYPE_CHECKING:
    from conftest import LoopbackCluster
    from pyspark.sql import SparkSession

pytestmark = [pytest.mark.cluster, pytest.mark.faults, pytest.mark.slow]

FAULTS = Path(__file__).parents[1] / "faults"
PROGRAM = Path(__file__).with_name("night_with_lost_executor.py")
#: (table, what is compared within float tolerance, what is compared exactly beside the key)
COMPARED = (
    (tables.INTERACTIONS, "weight", ()),
    (tables.EDGES, "weight", ()),
    (tables.INTEREST_MODEL, None, ("round", "ranked_by")),
    (tables.RECOMMENDATIONS, "score", ("item_id",)),
    (tables.RELATED_ITEMS, "score", ()),
)


def rows(
    lake: Lake, table: Table, value: str | None, exact: tuple[str, ...]
) -> tuple[list[Any], list[float]]:
    names = [*table.key, *exact]
    found = lake.read(table).select(*names, *([value] if value else [])).orderBy(*names).collect()
    return [row[: len(names)] for row in found], [row[value] for row in found] if value else []


def test_a_night_that_loses_an_executor_ends_as_an_undisturbed_one(
    spark: SparkSession, loopback_cluster: LoopbackCluster, wheel: Path, tmp_path: Path, monkeypatch: Any
) -> None:
    monkeypatch.syspath_prepend(str(FAULTS))
    from small_night import NIGHT, nightly, write_settings, write_sources

    ingest = write_sources(tmp_path / "sources")
    here = write_settings(tmp_path / "here.yaml", tmp_path / "here", ingest)
    assert nightly(here, NIGHT, "--until", "recommend") == 0

    there = write_settings(tmp_path / "there.yaml", tmp_path / "there", ingest)
    arguments = (str(FAULTS), str(there), str(NIGHT))
    # The first process of the cluster is its master.
    workers = [str(process.pid) for process in loopback_cluster.processes[1:]]
    done = loopback_cluster.submit(wheel, PROGRAM, *arguments, *workers)
    assert "killed 1 of 2 executors" in done.out, done.last_words()
    if done.code != 0:
        (told,) = done.complaints()
        assert told.startswith("isrf: error: Spark: lost an executor and what the stage kept there")
        done = loopback_cluster.submit(wheel, PROGRAM, *arguments)
    assert done.code == 0, done.last_words()

    undisturbed, disturbed = (
        Lake(spark, LakeSettings(root=str(tmp_path / name))) for name in ("here", "there")
    )
    for table, value, exact in COMPARED:
        in_work = table.pending if table.is_delivered else table
        expected, found = (rows(lake, in_work, value, exact) for lake in (undisturbed, disturbed))
        assert found[0] == expected[0], table.name
        assert found[1] == pytest.approx(expected[1], rel=1e-4, abs=1e-7), table.name
    assert disturbed.read(tables.PROGRESS).isEmpty()
    stages = [
        row["stage"]
        for row in disturbed.read(tables.RUNS).where("status = 'done'").orderBy("sequence").collect()
    ]
    assert stages == list(STAGE_NAMES)
