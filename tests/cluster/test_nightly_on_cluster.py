"""The night of a local run, repeated on a real cluster that loses an executor on the way.

Nobody is asked, and the same tables are written again, up to float tolerance, since sums are taken in another order.
The cluster starts from a copy of the lake as the local run left it: its cache of answers is there, and whatever a
repeated night would append or leave behind would show. In the midst of its rounds one of its two executors is killed:
Spark computes again what was lost. What is kept on executors alone it cannot, and then the run says so in one line and
the next one goes on; which of the two happens depends on what that executor had.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from isrf_pipeline.config.settings import LakeSettings
from isrf_pipeline.lake import Lake, Table, tables
from isrf_pipeline.stages.registry import STAGE_NAMES

if TYPE_CHECKING:
    import pandas as pd
    from conftest import LoopbackCluster
    from pyspark.sql import SparkSession

NIGHT = "2026-06-30"
REPOSITORY = Path(__file__).parents[2]
LOSING = Path(__file__).with_name("night_with_lost_executor.py")
RTOL = 1e-4
#: Scores closer than this, relative to the larger, may change places: sums in another order round differently.
TIE = 1e-3

#: Compared row by row by key, floats within tolerance.
EXACT = (
    tables.INTERACTIONS,
    tables.ITEMS,
    tables.CLIENTS,
    tables.QUARANTINE,
    tables.ITEM_FEATURES,
    tables.USER_FEATURES,
    tables.VERTICES,
    tables.EDGES,
    tables.FIELD_WEIGHTS,
    tables.PROFILE_WEIGHTS,
    tables.INTEREST_MODEL,
    tables.SEGMENTS,
    tables.SEGMENT_MEMBERS,
)
#: Lists in the order of a score: (table, whose list, what is listed, score).
RANKED = (
    (tables.SIMILARITY, ("src", "round"), "dst", "similarity"),
    (tables.RECOMMENDATIONS, ("run_date", "user_id"), "item_id", "score"),
    (tables.RELATED_ITEMS, ("run_date", "item_id"), "related_item_id", "score"),
    (tables.AUDIENCES, ("run_date", "campaign_id"), "user_id", "score"),
)
_OF_THE_RUN = ("run_id",)


@pytest.fixture(scope="module")
def lakes(
    spark: SparkSession,
    demo_run: Any,
    loopback_cluster: LoopbackCluster,
    wheel: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[Lake, Lake]:
    """The local demo's lake, and the one on which the cluster repeated the night."""
    root = tmp_path_factory.mktemp("cluster") / "lake"
    shutil.copytree(demo_run.lake_root, root)
    options = (
        *("--conf-file", str(Path(demo_run.settings_file).resolve()), "--run-date", NIGHT),
        *("--set", f"lake.root={root}", "--set", f"export.directory={root / 'exports'}"),
        # The driver's folder is not the repository's.
        *("--set", f"campaigns.briefs={REPOSITORY / 'conf' / 'campaigns'}"),
        # Peers are compared nowhere here, and each partition of a small lake costs more than it spreads.
        *("--set", "evaluation.peers=[]", "--set", "spark.shuffle_partitions=2"),
    )
    folder = Path(demo_run.root)
    # The first process of the cluster is its master.
    workers = ",".join(str(process.pid) for process in loopback_cluster.processes[1:])
    done = loopback_cluster.submit(wheel, LOSING, workers, *options, folder=folder)
    assert "killed 1 of 2 executors" in done.out, done.last_words()
    if done.code != 0:
        (told,) = done.complaints()
        assert told.startswith("isrf: error: Spark: lost an executor and what the stage kept there")
        done = loopback_cluster.submit(wheel, "nightly", *options, folder=folder)
    assert done.code == 0, done.last_words()
    return Lake(spark, LakeSettings(root=str(demo_run.lake_root))), Lake(spark, LakeSettings(root=str(root)))


def frames(lakes: tuple[Lake, Lake], table: Table, *order: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    local, remote = (
        lake.read(table).drop(*_OF_THE_RUN).toPandas().sort_values(list(order), ignore_index=True)
        for lake in lakes
    )
    return local, remote


def test_no_answer_was_asked_for_again(lakes: tuple[Lake, Lake]) -> None:
    from pyspark.sql import functions as F

    local, remote = (lake.read(tables.ANSWERS) for lake in lakes)
    assert remote.count() == local.count()
    before = {row["run_id"] for row in lakes[0].read(tables.RUNS).collect()}
    of_cluster = lakes[1].read(tables.RUNS).where(~F.col("run_id").isin(*before)).orderBy("sequence")
    records = of_cluster.collect()
    assert [record["stage"] for record in records if record["status"] == "done"] == list(STAGE_NAMES)
    assert {record["llm_calls"] for record in records if record["status"] == "done"} == {0}


def test_nothing_is_left_of_the_rounds_that_were_broken_off(lakes: tuple[Lake, Lake]) -> None:
    assert lakes[1].read(tables.PROGRESS).isEmpty()


def test_every_table_was_written_again(lakes: tuple[Lake, Lake]) -> None:
    local, remote = lakes
    compared = (*EXACT, *(table for table, *_ in RANKED), tables.HERO_ITEMS)
    assert [table.name for table in compared if remote.version(table) <= local.version(table)] == []


@pytest.mark.parametrize("table", EXACT, ids=lambda table: table.name)
def test_same_rows(lakes: tuple[Lake, Lake], table: Table) -> None:
    import numpy as np
    import pandas as pd

    local, remote = frames(lakes, table, *table.key)
    assert len(local) == len(remote)
    for column in local.columns:
        first = next((value for value in local[column] if value is not None), None)
        if isinstance(first, np.ndarray) and first.dtype.kind == "f":
            assert list(local[column].isna()) == list(remote[column].isna())
            np.testing.assert_allclose(
                np.stack(list(local[column].dropna())),
                np.stack(list(remote[column].dropna())),
                rtol=RTOL,
                atol=1e-4,
            )
        elif pd.api.types.is_float_dtype(local[column]):
            np.testing.assert_allclose(local[column], remote[column], rtol=RTOL, atol=1e-7)
        else:
            assert [_plain(value) for value in local[column]] == [
                _plain(value) for value in remote[column]
            ], column


@pytest.mark.parametrize(
    ("table", "owner", "listed", "score"), RANKED, ids=lambda part: getattr(part, "name", "")
)
def test_same_lists(
    lakes: tuple[Lake, Lake], table: Table, owner: tuple[str, ...], listed: str, score: str
) -> None:
    """Scores agree place by place, and whatever stands at another place stands there by a near-tie."""
    import numpy as np

    local, remote = frames(lakes, table, *owner, "rank")
    keys = [*owner, "rank"]
    assert local[keys].equals(remote[keys])
    np.testing.assert_allclose(local[score], remote[score], rtol=RTOL, atol=1e-7)
    both = local.merge(remote, how="outer", on=[*owner, listed], suffixes=("", "_remote"), indicator=True)
    moved = both[(both["rank"] != both["rank_remote"]) & (both["_merge"] == "both")]
    np.testing.assert_allclose(moved[score], moved[f"{score}_remote"], rtol=TIE)
    # What is in one list only was within a tie of the list's last place.
    last = local.groupby(list(owner))[score].min()
    for side, column in (("left_only", score), ("right_only", f"{score}_remote")):
        alone = both[both["_merge"] == side]
        if len(alone):
            ends = last.loc[[tuple(row) for row in alone[list(owner)].itertuples(index=False)]].to_numpy()
            np.testing.assert_allclose(alone[column], ends, rtol=TIE)
    assert len(moved) + (both["_merge"] != "both").sum() <= 0.01 * len(local) + 2


def test_hero_items_are_the_same(lakes: tuple[Lake, Lake]) -> None:
    local, remote = frames(lakes, tables.HERO_ITEMS, "run_date", "item_id")
    shared = set(local["item_id"]) & set(remote["item_id"])
    assert len(shared) >= 0.9 * max(len(local), len(remote))


def _plain(value: Any) -> Any:
    """Comparable form of arrays and maps; an absent value equals an absent value."""
    if value is None or (isinstance(value, float) and value != value):
        return None
    if isinstance(value, dict):
        return sorted(value.items())
    return list(value) if hasattr(value, "tolist") and not hasattr(value, "isoformat") else value
