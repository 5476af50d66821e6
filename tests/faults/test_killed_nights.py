"""A night that is killed at every stage, inside it and at its end, goes on in the next run as if nothing had been.

Two nights for all places: each is killed, goes on, and is killed further on. Two ways to kill. Where most is at stake,
all processes of a real ``isrf nightly`` get SIGKILL; each costs the start of a JVM. At all other places the night runs
in the session of the tests: there the lake's folder is copied as it is at that instant, which is what SIGKILL would
leave, the night is broken off, and the copy takes the folder's place; whatever was done on the way out is gone with it.
After each kill somebody reads what consumers read.
"""

from __future__ import annotations

import datetime
import hashlib
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from small_night import BEFORE, NIGHT, nightly, write_settings, write_sources
from stopping import NoRoom, Place, stopped_at

from isrf_pipeline.config.settings import LakeSettings
from isrf_pipeline.lake import Lake, Table, tables
from isrf_pipeline.publication.record import publications
from isrf_pipeline.run.lock import LOCK_NAME
from isrf_pipeline.stages.registry import STAGE_NAMES

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import DataFrame, SparkSession

pytestmark = [pytest.mark.spark, pytest.mark.faults, pytest.mark.slow]

PROGRAM = Path(__file__).with_name("killed_night.py")
BY_SIGNAL = (
    Place("ingest", "writing", "silver.interactions"),
    Place("evaluate", "after write", "gold.related_items"),
    Place("export", "point_to_current"),
)
#: Here the disk is full instead: the first of the tables that consumers read are written, the others cannot be.
WITHOUT_ROOM = Place("evaluate", "before write", "gold.related_items")
#: In the order of the night: each run goes on where the one before it was killed, and is killed further on.
BEFORE_THE_GATES = (
    BY_SIGNAL[0],
    Place("ingest", "after write", "silver.items"),
    Place("ingest", "done"),
    Place("ingest", "recorded"),
    Place("reason_items", "before write", "reasoning.item_features"),
    Place("reason_items", "recorded"),
    Place("build_interaction_graph", "after write", "graph.vertices"),
    Place("build_interaction_graph", "recorded"),
    Place("reason_users", "before write", "reasoning.user_features"),
    Place("reason_users", "recorded"),
    Place("build_user_graph", "after write", "graph.profiles"),
    Place("build_user_graph", "recorded"),
    Place("optimize", "after write", "interests.progress"),
    Place("optimize", "done"),
    Place("optimize", "recorded"),
    Place("recommend", "after write", "pending.recommendations"),
    Place("recommend", "recorded"),
)
FROM_THE_GATES_ON = (
    WITHOUT_ROOM,
    BY_SIGNAL[1],
    Place("evaluate", "record_publication"),
    Place("evaluate", "done"),
    Place("export", "write_manifest"),
    BY_SIGNAL[2],
    Place("export", "recorded"),
    Place("maintain", "before write", "ops.metrics"),
    Place("maintain", "done"),
)
#: Of the run and not of the night.
_OF_THE_RUN = ("run_id", "published_at")


class Killed(BaseException):
    """Stands for the end of the process: nothing of ours may catch it for good."""


@dataclass(frozen=True)
class SmallLake:
    """A lake and the settings of its nights."""

    spark: SparkSession
    settings_file: Path
    root: Path

    @property
    def lake(self) -> Lake:
        """The lake as somebody sees it who looks at it for the first time."""
        # Delta would go on from the versions that it remembers, which a killed run never wrote.
        self.spark._jvm.org.apache.spark.sql.delta.DeltaLog.clearCache()  # type: ignore[union-attr]
        return Lake(self.spark, LakeSettings(root=str(self.root)))

    def copied(self, folder: Path) -> SmallLake:
        folder.mkdir()
        shutil.copytree(self.root, folder / "lake")
        ingest = yaml.safe_load(self.settings_file.read_text(encoding="utf-8"))["ingest"]
        settings = write_settings(folder / "night.yaml", folder / "lake", ingest)
        return SmallLake(self.spark, settings, folder / "lake")

    def gold_commits(self) -> set[str]:
        """Commits of all that consumers read."""
        return {str(path.relative_to(self.root)) for path in self.root.glob("gold/*/_delta_log/*.json")}


def contents(lake: Lake, table: Table, night: datetime.date | None = None) -> pa.Table:
    """Rows of a table, or of one night of it, in the order of its key."""
    rows = lake.read(table)
    return sorted_rows(rows if night is None else rows.where(f"run_date = '{night}'"), table)


def sorted_rows(rows: DataFrame, table: Table) -> pa.Table:
    kept = rows.drop(*_OF_THE_RUN).toArrow()
    # The same broken row may lie in quarantine in each of two nights.
    order = dict.fromkeys([*table.key, *(name for name in ("run_date",) if name in kept.column_names)])
    return kept.sort_by([(name, "ascending") for name in order if name not in _OF_THE_RUN])


@dataclass(frozen=True)
class Consumer:
    """Reads as docs/publication.md tells consumers to, and knows both whole nights."""

    whole: dict[datetime.date, dict[str, pa.Table]]

    @classmethod
    def who_knows(cls, before: SmallLake, after: SmallLake) -> Consumer:
        return cls(
            {
                night: {
                    table.name: contents(lake, table, night)
                    for table in tables.DELIVERED
                    if lake.exists(table)
                }
                for lake, night in ((before.lake, BEFORE), (after.lake, NIGHT))
            }
        )

    def sees(self, small: SmallLake) -> Any:
        """The night that is there, every row of it and nothing else."""
        lake = small.lake
        shown = next(row for row in publications(lake) if row["action"] != "added")
        night = shown["run_date"]
        for name, expected in self.whole[night].items():
            table = tables.ALL_TABLES[name]
            assert contents(lake, table, night).equals(expected), name
        # Who must not see a night change while it is published again reads the versions of its publication.
        lists = tables.RECOMMENDATIONS
        kept = lake.read_version(lists, shown["versions"][lists.name]).where(f"run_date = '{night}'")
        assert sorted_rows(kept, lists).equals(self.whole[night][lists.name])
        return night

    def exported(self, small: SmallLake) -> str:
        """The night that latest.json names; its files are there as the manifest has them."""
        root = small.root / "exports"
        latest = json.loads((root / "latest.json").read_text(encoding="utf-8"))
        manifest = root / latest["manifest"]["path"]
        assert hashlib.sha256(manifest.read_bytes()).hexdigest() == latest["manifest"]["sha256"]
        for file in json.loads(manifest.read_text(encoding="utf-8"))["files"]:
            content = (manifest.parent / file["path"]).read_bytes()
            assert hashlib.sha256(content).hexdigest() == file["sha256"], file["path"]
        return str(latest["run_date"])


@pytest.fixture(scope="module")
def before(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> SmallLake:
    """The night before, published and exported."""
    folder = tmp_path_factory.mktemp("killed")
    settings = write_settings(folder / "night.yaml", folder / "lake", write_sources(folder / "sources"))
    assert nightly(settings, BEFORE) == 0
    return SmallLake(spark, settings, folder / "lake")


@pytest.fixture(scope="module")
def undisturbed(before: SmallLake) -> SmallLake:
    """The night as it is when nothing happens."""
    small = before.copied(before.root.parent / "undisturbed")
    assert nightly(small.settings_file, NIGHT) == 0
    return small


@pytest.fixture(scope="module")
def consumer(before: SmallLake, undisturbed: SmallLake) -> Iterator[Consumer]:
    consumer = Consumer.who_knows(before, undisturbed)
    assert consumer.whole[NIGHT]["gold.recommendations"].num_rows > 0
    assert not consumer.whole[NIGHT]["gold.recommendations"].equals(
        consumer.whole[BEFORE]["gold.recommendations"]
    )
    assert (consumer.sees(before), consumer.exported(before)) == (BEFORE, str(BEFORE))
    assert (consumer.sees(undisturbed), consumer.exported(undisturbed)) == (NIGHT, str(NIGHT))
    yield consumer


def assert_consumers_see_whole_nights(
    consumer: Consumer, small: SmallLake, before: SmallLake, place: Place
) -> None:
    """Nothing but the night before until evaluate has published, and nothing but the night from then on."""
    reached = STAGE_NAMES.index(place.stage)
    if reached < STAGE_NAMES.index("evaluate"):
        assert small.gold_commits() == before.gold_commits()
        return
    published = reached > STAGE_NAMES.index("evaluate") or place.at in ("done", "recorded")
    assert consumer.sees(small) == (NIGHT if published else BEFORE)
    exported = reached > STAGE_NAMES.index("export") or (place.stage, place.at) == ("export", "recorded")
    assert consumer.exported(small) == str(NIGHT if exported else BEFORE)


def assert_equal_nights(small: SmallLake, undisturbed: SmallLake) -> None:
    """All tables and files are those of the night in which nothing happened, but for times and counts of commits."""
    both = {small.root: small.lake, undisturbed.root: undisturbed.lake}
    differing = []
    for table in {**tables.ALL_TABLES, **tables.WAITING}.values():
        if table in (tables.RUNS, tables.PUBLICATIONS):
            continue
        there = {lake.exists(table) for lake in both.values()}
        assert len(there) == 1, table.name
        if there == {True} and not _comparable(both[small.root], table).equals(
            _comparable(both[undisturbed.root], table)
        ):
            differing.append(table.name)
    assert differing == []
    for root in (small.root, undisturbed.root):
        assert not list((root / "exports").glob(".*"))
    first, second = (
        {
            path.relative_to(root): path.read_bytes()
            for path in sorted((root / "exports").rglob("*"))
            # What tells when something was done, and the hash of it.
            if path.is_file() and path.name not in ("report.html", "manifest.json", "latest.json")
        }
        for root in (small.root, undisturbed.root)
    )
    assert first.keys() == second.keys()
    assert [str(path) for path in first if first[path] != second[path]] == []


def _comparable(lake: Lake, table: Table) -> pa.Table:
    import pyarrow.compute as pc

    rows = contents(lake, table)
    if table is tables.METRICS:
        # How many commits a table has got, and so which files are looked after, depends on what was repeated.
        rows = rows.filter(pc.invert(pc.starts_with(rows["metric"], "maintain.")))
    return rows


def runs_of_night(small: SmallLake) -> list[tuple[str, str, str]]:
    rows = small.lake.read(tables.RUNS).where(f"run_date = '{NIGHT}'").orderBy("sequence").collect()
    return [(row["run_id"], row["stage"], row["status"]) for row in rows]


def assert_resumed(small: SmallLake) -> None:
    """The last run is whole; each stage was done, and nothing that was recorded was done a second time."""
    records = runs_of_night(small)
    last = records[-1][0]
    assert [stage for run_id, stage, _ in records if run_id == last] == list(STAGE_NAMES)
    assert [stage for _, stage, status in records if status == "done"] == list(STAGE_NAMES)


def killed_by_signal(small: SmallLake, place: Place) -> None:
    """Run the night in processes of its own and kill them all."""
    command = [sys.executable, str(PROGRAM), str(small.settings_file), str(NIGHT), str(place)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == -9, f"{place}: {done.returncode}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}"


def killed_by_copy(small: SmallLake, place: Place) -> None:
    """Run the night in this process and leave the lake as it was when the night came to ``place``."""
    copy = small.root.with_name("copy")

    def stop() -> None:
        shutil.copytree(small.root, copy)
        raise Killed

    with stopped_at(place, stop), pytest.raises(Killed):
        nightly(small.settings_file, NIGHT)
    shutil.rmtree(small.root)
    copy.rename(small.root)
    # The lock names this process, which lives; that of a killed one does not.
    lock = small.root / LOCK_NAME
    lock.write_text(
        json.dumps({**json.loads(lock.read_text(encoding="utf-8")), "process_started": 1}), encoding="utf-8"
    )
    assert small.lake.version(tables.RUNS) >= len(STAGE_NAMES)


def run_without_room(small: SmallLake, place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    """Run the night on a disk that is full once the night has come to ``place``."""
    room = NoRoom(small.spark)
    try:
        with stopped_at(place, room.begin):
            code = nightly(small.settings_file, NIGHT)
    finally:
        room.end()
    (told,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("isrf: ")]
    assert code == 2, told
    assert told.startswith(f"isrf: error: {small.root}: cannot take what is written (File too large; ")
    assert told.endswith("free space there and start the run again: it goes on where it stopped.")
    assert not (small.root / LOCK_NAME).exists()


@pytest.mark.parametrize(
    "places", [BEFORE_THE_GATES, FROM_THE_GATES_ON], ids=["before_the_gates", "from_the_gates_on"]
)
def test_a_night_killed_at_every_stage_goes_on_and_ends_as_an_undisturbed_one(
    places: tuple[Place, ...],
    before: SmallLake,
    undisturbed: SmallLake,
    consumer: Consumer,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    small = before.copied(tmp_path / "killed")
    for place in places:
        if place == WITHOUT_ROOM:
            run_without_room(small, place, capsys)
        elif place in BY_SIGNAL:
            killed_by_signal(small, place)
        else:
            killed_by_copy(small, place)
        assert_consumers_see_whole_nights(consumer, small, before, place)
        capsys.readouterr()
    assert nightly(small.settings_file, NIGHT) == 0
    assert "left its lock behind and is gone: took it over" in capsys.readouterr().out
    assert (consumer.sees(small), consumer.exported(small)) == (NIGHT, str(NIGHT))
    assert_equal_nights(small, undisturbed)
    assert_resumed(small)
