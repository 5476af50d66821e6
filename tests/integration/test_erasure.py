"""Erasure on a lake with a history: nothing of the client is left in any file, and nobody else is touched."""

from __future__ import annotations

import datetime
import functools
import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from pyarrow import parquet

from isrf_pipeline.cli.erase import summary
from isrf_pipeline.concurrent_actions import run_together
from isrf_pipeline.config import Settings
from isrf_pipeline.erasure import proof
from isrf_pipeline.erasure.erase import Erasure, erase
from isrf_pipeline.erasure.history import cleaning_session
from isrf_pipeline.erasure.proof import scan_lake
from isrf_pipeline.erasure.register import lift, without_erased
from isrf_pipeline.erasure.rows import delete_rows, named_in, wanted_frame
from isrf_pipeline.erasure.shared_names import wanted_of
from isrf_pipeline.lake import Column, Lake, Table, tables
from isrf_pipeline.lake.schema import ClientReference
from isrf_pipeline.stages.context import StageContext
from isrf_pipeline.stages.ingest import STAGE as INGEST

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

pytestmark = pytest.mark.spark

NIGHT = datetime.date(2026, 6, 30)
NOW = datetime.datetime(2026, 7, 1, 9, tzinfo=datetime.UTC)
HOSTILE = "x' OR '1'='1"
#: Erased: an ordinary one, one that is no more than a number, a hostile one, wildcards, and one in no table.
ERASED = ("ZED-007", "12", HOSTILE, "50%_-off", "nobody-1")
#: Whoever is alike must stay: longer, shorter, another case, what a wildcard or an injected condition would match.
OTHERS = ("ZED-0071", "ZED-00", "zed-007", "120", "i12", "50AB-off", "ann", "bob")


def _answer(fingerprint: str, kind: str, subject: str, interest: str) -> tuple[Any, ...]:
    answer = json.dumps({"interest": interest})
    return (fingerprint, kind, subject, None, "m", "v2", answer, "ok", *[None] * 4, 1, 1, None, NOW, "r")


def _rows_of_tables() -> list[tuple[Table, list[tuple[Any, ...]]]]:
    users = [*ERASED[:-1], *OTHERS]
    raw = ['{"who": "ZED-007", "what": "bag"}', '{"who": "ann", "what": "12"}', 'ZED-007;"bag']
    errors = ["row of ZED-007 broke: a rule", "12 rows broke", None]
    texts = ("own taste", "old taste", "shared", "an item")
    return [
        (tables.CLIENTS, [(user, {}, True) for user in users]),
        (tables.ITEMS, [(item, *[None] * 5, {}, True, None, "h") for item in ("bag", "12")]),
        (
            tables.VERTICES,
            [(f"u:{user}", "user", None) for user in users] + [("i:12", "item", None), ("u:", "user", None)],
        ),
        (
            tables.SIMILARITY,
            [("ann", "ZED-007", 0, 0.5, 1), ("ZED-007", "12", 0, 0.5, 1), ("ann", "bob", 0, 0.5, 2)],
        ),
        (
            tables.ANSWERS,
            [
                _answer("f1", "user.single", "ZED-007", "old taste"),
                _answer("f2", "user.single", "ann", "shared"),
                _answer("f3", "item.single", "12", "an item"),
            ],
        ),
        (
            tables.USER_FEATURES,
            [
                ("ZED-007", "own taste", "llm", None, None),
                ("12", "shared", "llm", None, None),
                ("ann", "shared", "llm", None, None),
            ],
        ),
        (
            tables.EMBEDDINGS,
            [(hashlib.sha256(text.encode()).hexdigest(), text, [1.0], "r") for text in texts],
        ),
        (tables.INTEREST_PARAMETERS, [(NIGHT, "ranker", bytearray(b"tree"))]),
        # A night that waits for its gates.
        (
            tables.RECOMMENDATIONS.pending,
            [(NIGHT, user, 1, "bag", 1.0, 1.0, 0.0, "Goes.", [], None, None) for user in users],
        ),
        (tables.QUARANTINE, [("sales", text, text, "duplicate", NIGHT, "r") for text in raw]),
        (
            tables.RUNS,
            [
                ("r", NIGHT, f"s{place}", "failed", NOW, NOW, 1.0, 1, 1, 0, 0, {}, "c", "v", error, {}, place)
                for place, error in enumerate(errors)
            ],
        ),
    ]


def _fill(lake: Lake, spark: SparkSession) -> None:
    def write(table: Table, rows: list[tuple[Any, ...]]) -> None:
        # Without the commit that creates a table: they are many, and a commit takes longer than a row.
        frame = spark.createDataFrame(rows, table.ddl()).coalesce(1)
        frame.write.format("delta").mode("overwrite").save(lake.path(table))

    filled = _rows_of_tables()
    run_together(*(functools.partial(write, table, rows) for table, rows in filled))
    # The files of the first version are history now.
    write(*filled[0])


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    root = tmp_path_factory.mktemp("erasure")
    (root / "sales.csv").write_text(
        "who,what,when\r\n"
        + "".join(
            f'"{user}",bag,2026-06-0{day}\r\n' for user in ("ZED-007", "ann", "bob") for day in (1, 2, 3)
        )
        + "ann,bag,2026-06-01,ZED-007\r\n12,nothing,2026-06-01\r\n",
        encoding="utf-8",
    )
    (root / "items.csv").write_text("item_id,title\r\nbag,Bag\r\n", encoding="utf-8")
    columns = {"user_id": "who", "item_id": "what", "ts": "when"}
    return Settings.model_validate(
        {
            "lake": {"root": str(root / "lake")},
            "split": {"policy": "none"},
            "ingest": {
                "max_quarantine_share": 0.9,
                "items": {"path": str(root / "items.csv"), "format": "csv"},
                "interactions": [
                    {
                        "name": "sales",
                        "path": str(root / "sales.csv"),
                        "format": "csv",
                        "event_type": "purchase",
                        "columns": columns,
                    }
                ],
            },
        }
    )


@pytest.fixture(scope="module")
def lake(spark: SparkSession, settings: Settings) -> Lake:
    lake = Lake(spark, settings.lake)
    _fill(lake, spark)
    root = Path(settings.lake.root)
    (root / "logs").mkdir()
    (root / "logs" / "r.log").write_text('{"event": "x", "error": "ZED-007: broke"}\n')
    folder = root / "exports" / "2026-06-30"
    folder.mkdir(parents=True)
    (folder / "crm.csv").write_text('"user_id"\r\n"ZED-007"\r\n"ann"\r\n')
    (folder / "manifest.json").write_text(
        '{"run_date": "2026-06-30", "files": [{"path": "crm.csv", "rows": 2}]}'
    )
    return lake


@pytest.fixture(scope="module")
def planned(lake: Lake, settings: Settings) -> tuple[Erasure, dict[str, int]]:
    """A dry run, and the versions that it found and left."""
    before = _versions(lake)
    done = erase(lake, settings, ERASED, "plan", NOW, dry_run=True)
    assert _versions(lake) == before
    return done, before


@pytest.fixture(scope="module")
def killed(lake: Lake, settings: Settings, planned: tuple[Erasure, dict[str, int]]) -> None:
    """An erasure that ended when the rows were gone and all files were still there."""

    def die(*_: object) -> None:
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("isrf_pipeline.erasure.erase.erase_from_exports", die)
        erase(lake, settings, ERASED, "run-1", NOW)


@pytest.fixture(scope="module")
def erased(lake: Lake, settings: Settings, killed: None) -> Erasure:
    """The same erasure once more: what is left is done, and proved."""
    return erase(lake, settings, ERASED, "run-2", NOW)


def _versions(lake: Lake) -> dict[str, int]:
    fresh = Lake(lake.spark, lake.settings)
    return {name: fresh.version(table) for name, table in tables.ALL_TABLES.items()}


def test_a_dry_run_counts_what_goes_and_changes_nothing(planned: tuple[Erasure, dict[str, int]]) -> None:
    assert (planned[0].scan, planned[0].exports.rewritten) == (None, ["2026-06-30"])
    assert planned[0].unknown == 1
    assert planned[0].rows == {
        "silver.clients": 4,
        "silver.quarantine": 2,
        "graph.vertices": 4,
        "graph.similarity": 2,
        "reasoning.answers": 1,
        "reasoning.user_features": 2,
        "reasoning.embeddings": 2,
        "interests.parameters": 1,
        "pending.recommendations": 4,
        "ops.runs": 1,
    }


def test_nobody_else_lost_anything(lake: Lake, erased: Erasure) -> None:
    for table in (tables.CLIENTS, tables.RECOMMENDATIONS.pending):
        assert sorted(row["user_id"] for row in lake.read(table).collect()) == sorted(OTHERS)
    vertices = {row["id"] for row in lake.read(tables.VERTICES).collect()}
    assert vertices == {*(f"u:{user}" for user in OTHERS), "i:12", "u:"}
    assert [row["dst"] for row in lake.read(tables.SIMILARITY).collect()] == ["bob"]
    assert {row["subject"] for row in lake.read(tables.ANSWERS).collect()} == {"ann", "12"}
    # A text that another client has too stays in the cache.
    assert {row["encoder"] for row in lake.read(tables.EMBEDDINGS).collect()} == {"shared", "an item"}
    assert {row["raw"] for row in lake.read(tables.QUARANTINE).collect()} == {'{"who": "ann", "what": "12"}'}
    errors = {row["error"] for row in lake.read(tables.RUNS).collect()}
    assert errors == {"row of [erased] broke: a rule", "12 rows broke", None}


def test_no_file_of_the_lake_names_the_client(lake: Lake, erased: Erasure) -> None:
    assert erased.scan is not None
    assert erased.scan.found == ()
    # What the scan says is what a plain look at the bytes and at the values of every file says.
    root = Path(lake.root)
    for path in root.rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            assert b"ZED-007" not in content.replace(b"ZED-0071", b""), path
            assert HOSTILE.encode() not in content, path
            if path.suffix == ".parquet" and "_delta_log" not in path.parts:
                values = parquet.read_table(path, partitioning=None).to_pylist()
                assert not [row for row in values if "ZED-007" in row.values() or "u:ZED-007" in row.values()]
    assert len(list((root / "silver" / "clients").glob("*.parquet"))) == 1
    assert (root / "logs" / "r.log").read_text() == '{"event": "x", "error": "[erased]: broke"}\n'
    assert (root / "exports" / "2026-06-30" / "crm.csv").read_text() == '"user_id"\n"ann"\n'


def test_the_scan_finds_a_client_who_is_there(lake: Lake, erased: Erasure) -> None:
    mine = Lake(cleaning_session(lake.spark), lake.settings)
    found = scan_lake(mine, wanted_of(mine, ("ZED-0071",))).found
    inside = {Path(path).relative_to(lake.root).parts[:2] for path, _, _ in found}
    assert {("silver", "clients"), ("graph", "vertices"), ("pending", "recommendations")} <= inside
    short = {where for _, where, _ in scan_lake(mine, wanted_of(mine, ("120",))).found}
    assert {"column user_id", "column id", "bounds of user_id"} <= short
    assert "text" not in short


def test_an_object_store_is_scanned_as_a_folder_is(lake: Lake, erased: Erasure) -> None:
    mine = Lake(cleaning_session(lake.spark), lake.settings)
    wanted = wanted_of(mine, ("ZED-0071", "12x"))
    (Path(lake.root) / ".hidden.json").write_text('{"user_id": "12x"}')
    local = scan_lake(mine, wanted)
    # As Hadoop lists and reads it, whatever the store.
    folders = proof._table_folders(mine)
    files = [
        proof._File(path, size, proof._columns_of(path, folders))
        for path, size in proof._remote(mine, f"file:{lake.root}").items()
    ]
    remote = proof._scanned_remotely(mine, files, wanted)
    # Hadoop hides the checksums that it keeps beside files of a local folder.
    shown = [path for path in Path(lake.root).rglob("[!.]*") if path.is_file()]
    assert len(files) == len(shown) + 1
    assert sorted((path.removeprefix("file:"), *rest) for path, *rest in remote) == [
        (path, *rest) for path, *rest in local.found
    ]
    assert (str(Path(lake.root) / ".hidden.json"), "key user_id", 1) in local.found
    (Path(lake.root) / ".hidden.json").unlink()


def test_what_is_told(planned: tuple[Erasure, dict[str, int]], erased: Erasure, settings: Settings) -> None:
    planned_lines = "\n".join(summary(planned[0], len(ERASED), settings))
    assert "1 of 5 clients: not found" in planned_lines
    assert "the next isrf nightly trains them again" in planned_lines
    lines = "\n".join(summary(erased, len(ERASED), settings))
    assert "proof: no file of the lake names any of the clients" in lines
    assert "1 of the identifiers are short" in lines
    assert (
        f"source files, whose rows of the client ingest leaves out: {settings.ingest.interactions[0].path}"
        in lines
    )
    assert not any(identifier in lines for identifier in ERASED if identifier != "12")


def test_columns_of_hashes_name_clients_too(lake: Lake, erased: Erasure) -> None:
    key = Column("client_key", "bigint", "Hash", client=ClientReference(hashed=True))
    facts = Table("bi.facts", "One fact", ("client_key",), (key, Column("n", "int", "Number")))
    mine = Lake(cleaning_session(lake.spark), lake.settings)
    users = mine.spark.createDataFrame([("ann", 1), ("bob", 2), ("12", 3)], "user_id string, n int")
    mine.overwrite(facts, users.selectExpr("xxhash64(user_id) AS client_key", "n"))
    asked = wanted_frame(mine, ("ann", "12", "zoe"))
    found = named_in(mine, [facts], asked)["bi.facts"]
    assert (found.rows, found.columns, found.identifiers) == (2, {"client_key"}, {"ann", "12"})
    delete_rows(mine, facts, asked, found.columns)
    assert [row["n"] for row in mine.read(facts).collect()] == [2]


def test_only_this_session_may_remove_new_files(spark: SparkSession, erased: Erasure) -> None:
    assert spark.conf.get("spark.databricks.delta.retentionDurationCheck.enabled") == "true"


def test_tables_go_on_after_their_history_is_gone(lake: Lake, spark: SparkSession, erased: Erasure) -> None:
    fresh = Lake(spark, lake.settings)
    history = spark.sql(f"DESCRIBE HISTORY {fresh.address(tables.CLIENTS)}").collect()
    assert len(history) == 1
    version = fresh.version(tables.CLIENTS)
    assert version == history[0]["version"]
    fresh.append(tables.CLIENTS, spark.createDataFrame([("new", {}, True)], tables.CLIENTS.ddl()))
    assert fresh.version(tables.CLIENTS) == version + 1
    assert fresh.read(tables.CLIENTS).count() == len(OTHERS) + 1


def test_clients_are_remembered_once_and_by_hash(lake: Lake, erased: Erasure) -> None:
    rows = Lake(lake.spark, lake.settings).read(tables.ERASED).collect()
    assert len({row["client_hash"] for row in rows}) == len(rows) == len(ERASED)
    # The second try kept what the first had noted.
    assert {(row["run_id"], len(row["client_hash"])) for row in rows} == {("run-1", 64)}
    assert len({row["salt"] for row in rows}) == 1


def test_ingest_leaves_the_client_out_until_the_erasure_is_lifted(
    spark: SparkSession, lake: Lake, settings: Settings, erased: Erasure
) -> None:
    context = StageContext(spark, settings, Lake(spark, settings.lake), NIGHT, "night")
    INGEST.run(context)
    read = context.lake.read
    assert {row["user_id"] for row in read(tables.INTERACTIONS).collect()} == {"ann", "bob"}
    assert {row["user_id"] for row in read(tables.CLIENTS).collect()} == {"ann", "bob"}
    # The malformed line names the client in no column that anybody could tell; the other row is of client 12.
    (raw,) = [row["raw"] for row in read(tables.QUARANTINE).collect()]
    assert raw.startswith("line of ")
    assert "ZED" not in raw
    counted = read(tables.METRICS).where("metric = 'ingest.erased_rows'").collect()
    assert [(row["slice"], row["value"]) for row in counted] == [("sales", 4.0)]

    mine = Lake(cleaning_session(spark), settings.lake)
    assert lift(mine, wanted_frame(mine, ("ZED-007", "ann"))) == 1
    rows = mine.spark.createDataFrame(
        [("ZED-007", "{}", None), ("12", "{}", "duplicate")], "user_id string, raw string, rule string"
    )
    assert [tuple(row) for row in without_erased(mine, rows).orderBy("user_id").collect()] == [
        ("12", None, "erased_client"),
        ("ZED-007", "{}", None),
    ]
