"""A lake in an object store is held by one run at a time: real Delta rows and files, silence is not waited for."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from isrf_pipeline.errors import LakeLockedError
from isrf_pipeline.lake import Lake, tables
from isrf_pipeline.run import silence
from isrf_pipeline.run.lease import hold_lease, lease_holder

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

pytestmark = [pytest.mark.spark, pytest.mark.faults]


@pytest.fixture(autouse=True)
def _watched_in_no_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(silence, "_pause", lambda seconds: None)


LONG = 3600.0


def held_by(lake: Lake) -> str | None:
    holder = lease_holder(lake)
    return None if holder is None else holder.run_id


def life_signs(lake: Lake) -> Path:
    return Path(lake.root) / "_isrf_lease"


def leave_behind(lake: Lake, run_id: str, silent_for: float) -> None:
    """What a run leaves that died without giving the lake back."""
    row = ("lake", run_id, "elsewhere", 7)
    lake.overwrite(tables.LEASE, lake.spark.createDataFrame([row], tables.LEASE.ddl()))
    file = life_signs(lake) / run_id
    file.parent.mkdir(exist_ok=True)
    file.touch()
    os.utime(file, (time.time() - silent_for,) * 2)


def test_a_lake_is_held_and_given_back(lake: Lake) -> None:
    assert held_by(lake) is None
    with hold_lease(lake, "first", LONG) as replaced:
        assert replaced is None
        assert held_by(lake) == "first"
        with (
            pytest.raises(LakeLockedError, match=r"run first \(process \d+ on .*\) holds the lake"),
            hold_lease(lake, "second", LONG),
        ):
            pass
        assert held_by(lake) == "first"
    assert held_by(lake) is None
    with pytest.raises(ValueError, match="boom"), hold_lease(lake, "third", LONG):
        raise ValueError("boom")
    assert held_by(lake) is None
    assert [path for path in life_signs(lake).iterdir() if not path.name.endswith(".crc")] == []


@pytest.mark.parametrize("silent_for", [200, 400])
def test_a_holder_is_replaced_once_it_was_silent_for_too_long(lake: Lake, silent_for: float) -> None:
    leave_behind(lake, "before", silent_for)
    if silent_for < 300:
        with pytest.raises(LakeLockedError, match=r"run before \(process 7 on elsewhere\)"):
            hold_lease(lake, "next", 300).__enter__()
        assert held_by(lake) == "before"
        return
    with hold_lease(lake, "next", 300) as replaced:
        assert replaced is not None and replaced.run_id == "before"
        assert held_by(lake) == "next"


def test_a_living_holder_whose_signs_look_old_keeps_the_lake(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The clock of the store was set: what the holder touched a moment ago looks hours old."""
    leave_behind(lake, "living", 7200)
    # Its next sign comes while it is watched.
    monkeypatch.setattr(silence, "_pause", lambda seconds: os.utime(life_signs(lake) / "living"))
    with pytest.raises(LakeLockedError, match="run living"):
        hold_lease(lake, "next", 300).__enter__()
    assert held_by(lake) == "living"


def test_of_two_that_ask_at_once_one_gets_it(lake: Lake, spark: SparkSession) -> None:
    leave_behind(lake, "dead", 400)
    together = threading.Barrier(2)
    won, refused, both_answered = [], [], threading.Event()

    def ask(run_id: str) -> None:
        mine = Lake(spark, lake.settings)
        together.wait(60)
        try:
            with hold_lease(mine, run_id, 300):
                won.append(run_id)
                both_answered.wait(60)
        except LakeLockedError:
            refused.append(run_id)
            both_answered.set()

    threads = [threading.Thread(target=ask, args=(run_id,)) for run_id in ("one", "two")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert sorted(won + refused) == ["one", "two"] and len(won) == 1


def test_a_run_that_lost_the_lake_is_stopped_in_its_work(lake: Lake, spark: SparkSession) -> None:
    with (
        pytest.raises(LakeLockedError, match=r"run other \(.*\) took the lake"),
        hold_lease(lake, "mine", 5),
    ):
        # As another run does that found this one silent.
        leave_behind(lake, "other", 0)
        (life_signs(lake) / "mine.replaced").touch()
        # Hours of work on all cores, ended when the loss is noticed.
        spark.range(0, 1 << 50, 1, 2).selectExpr("sum(id % 7)").collect()
    assert held_by(lake) == "other"


def work_until_cancelled(spark: SparkSession) -> None:
    """Hours of work on all cores."""
    with contextlib.suppress(Exception):
        spark.range(0, 1 << 50, 1, 2).selectExpr("sum(id % 7)").collect()


def test_a_run_shows_that_it_lives_while_all_cores_are_taken(lake: Lake, spark: SparkSession) -> None:
    with hold_lease(lake, "busy", 2):
        file = life_signs(lake) / "busy"
        os.utime(file, (0, 0))
        busy = threading.Thread(target=work_until_cancelled, args=(spark,))
        busy.start()
        deadline = time.monotonic() + 60
        while file.stat().st_mtime == 0 and time.monotonic() < deadline:
            time.sleep(0.05)
        spark.sparkContext.cancelAllJobs()
        busy.join(60)
        assert file.stat().st_mtime > 0
