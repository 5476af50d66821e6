"""Ingest as a stage: the demo lake against its truth, awkward files, and research sets."""

from __future__ import annotations

import datetime
import gzip
import json
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from isrf_pipeline.config import Settings, load_settings
from isrf_pipeline.demo import generate_demo_lake
from isrf_pipeline.ingest.sources import Source, read_rows
from isrf_pipeline.lake import Lake, tables
from isrf_pipeline.stages.context import StageContext
from isrf_pipeline.stages.ingest import STAGE

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

pytestmark = pytest.mark.spark

_NIGHT = datetime.date(2026, 6, 30)
_CONF = Path(__file__).parents[2] / "conf"
#: Source in the configuration to source in the truth.
_SOURCES = {
    "items": "articles",
    "clients": "clients",
    "purchases": "purchases",
    "wishlist": "wishlist",
    "views": "views",
}


def _ingest(spark: SparkSession, settings: Settings, run_id: str = "run-1") -> StageContext:
    context = StageContext(spark, settings, Lake(spark, settings.lake), _NIGHT, run_id)
    STAGE.run(context)
    return context


def _rows(frame: DataFrame) -> Counter[str]:
    return Counter(
        json.dumps(row.asDict(recursive=True), default=str, sort_keys=True) for row in frame.collect()
    )


@pytest.fixture(scope="module")
def demo(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, StageContext]:
    root = tmp_path_factory.mktemp("demo")
    raw = root / "raw"
    generate_demo_lake(raw, seed=7, articles=60, clients=150)
    files = ["items.path=articles.jsonl", "clients.path=clients.csv"]
    files += [
        f"interactions.{place}.path={name}"
        for place, name in enumerate(("purchases.csv", "wishlist.jsonl", "views.parquet"))
    ]
    moved = [f"ingest.{key}={raw / name}" for key, name in (file.split("=") for file in files)]
    # Nine dirty articles of 69 are more than a real house would let pass.
    effective = load_settings(
        _CONF / "demo.yaml", [*moved, f"lake.root={root / 'lake'}", "ingest.max_quarantine_share=0.2"]
    )
    return raw, _ingest(spark, effective.settings)


def test_every_dirty_row_of_the_demo_lake_is_quarantined_under_its_rule(
    demo: tuple[Path, StageContext],
) -> None:
    raw, context = demo
    truth = json.loads((raw / "truth" / "dirt.json").read_text(encoding="utf-8"))
    found: dict[str, dict[str, int]] = {}
    quarantine = context.lake.read(tables.QUARANTINE)
    for row in quarantine.groupBy("source", "rule").count().collect():
        found.setdefault(_SOURCES[row["source"]], {})[row["rule"]] = row["count"]
    assert found == truth
    assert quarantine.select("source", "row_hash").distinct().count() == quarantine.count()


def test_rows_in_are_rows_out_and_quarantined(demo: tuple[Path, StageContext]) -> None:
    import pyarrow.parquet as pq

    raw, context = demo
    in_files = (
        sum(len((raw / name).read_bytes().splitlines()) for name in ("articles.jsonl", "wishlist.jsonl"))
        + sum(len((raw / name).read_bytes().splitlines()) - 1 for name in ("clients.csv", "purchases.csv"))
        + pq.read_metadata(raw / "views.parquet").num_rows
    )
    out = sum(context.lake.read(table).count() for table in STAGE.writes)
    assert context.counters.rows_in == in_files == out


def test_clean_rows_are_recovered_as_they_were(demo: tuple[Path, StageContext]) -> None:
    raw, context = demo
    dirty = json.loads((raw / "truth" / "dirt.json").read_text(encoding="utf-8"))
    lines = (raw / "articles.jsonl").read_bytes().splitlines()
    clean = [json.loads(line) for line in lines[: len(lines) - sum(dirty["articles"].values())]]
    items = {row["item_id"]: row for row in context.lake.read(tables.ITEMS).collect()}
    assert len(items) == len(clean) == 60
    for article in clean:
        item = items[article["article_code"]]
        assert (item["title"], item["brand"], item["description"]) == (
            article["title"],
            article["maison"],
            article["description"],
        )
        assert item["categories"] == article["family"]
        assert item["price"] == article["retail_price"]
        assert item["available"] is article["in_stock"]
        assert str(item["launched_on"]) == article["launch_date"]
        assert item["attributes"] == {
            name: article[name] for name in ("material", "colour", "season") if article[name]
        }
    lines = (raw / "wishlist.jsonl").read_bytes().splitlines()
    wishes = [json.loads(line) for line in lines[: len(lines) - sum(dirty["wishlist"].values())]]
    stored = context.lake.read(tables.INTERACTIONS).where("event_type = 'wishlist'").collect()
    assert {(row["user_id"], row["item_id"], row["ts"].strftime("%Y-%m-%dT%H:%M:%S")) for row in stored} == {
        (wish["client"], wish["article"], wish["added_at"][:19]) for wish in wishes
    }
    assert {round(row["weight"], 6) for row in stored} == {0.6}


def test_columns_outside_the_allow_list_are_kept_nowhere(demo: tuple[Path, StageContext]) -> None:
    _, context = demo
    for table in (tables.CLIENTS, tables.QUARANTINE):
        assert not [row for row in _rows(context.lake.read(table)) if "@" in row]


def test_the_same_night_again_leaves_the_same_tables(
    spark: SparkSession, demo: tuple[Path, StageContext]
) -> None:
    _, context = demo
    before = {table.name: _rows(context.lake.read(table).drop("run_id")) for table in STAGE.writes}
    _ingest(spark, context.settings, "run-2")
    after = {table.name: _rows(context.lake.read(table).drop("run_id")) for table in STAGE.writes}
    assert after == before


def _read(
    spark: SparkSession, path: Path, columns: list[str], format_: str, encoding: str = "UTF-8"
) -> list[Any]:
    frame = read_rows(spark, Source("s", str(path), format_, encoding), columns)
    return [
        (tuple(row["given"] or ()), row["malformed"], row["raw"]) for row in frame.orderBy("place").collect()
    ]


def test_csv_by_rfc_4180(spark: SparkSession, tmp_path: Path) -> None:
    file = tmp_path / "a.csv"
    records = [
        '\ufeffid,"the, title",c',
        '1,"two\r\nlines, and ""quotes""",x',
        "",
        "2,back\\slash,",
        "3,few",
        "4,too,many,values",
        '5,"",é',
    ]
    file.write_bytes("\r\n".join(records).encode() + b"\r\n")
    rows = _read(spark, file, ["the, title", "id"], "csv")
    good = [given for given, malformed, _ in rows if not malformed]
    # Spark's reader writes every line break within quotes as a line feed.
    assert good == [('two\nlines, and "quotes"', "1"), ("back\\slash", "2"), (None, "5")]
    assert [raw for _, malformed, raw in rows if malformed] == ["3,few", "4,too,many,values"]
    assert json.loads(rows[-1][2])["c"] == "é"


@pytest.mark.parametrize("encoding", ["ISO-8859-1", "windows-1252", "UTF-16LE"])
def test_other_encodings(spark: SparkSession, tmp_path: Path, encoding: str) -> None:
    file = tmp_path / "a.csv"
    file.write_bytes("id,title\n1,Édition limitée\n".encode(encoding))
    assert _read(spark, file, ["id", "title"], "csv", encoding)[0][0] == ("1", "Édition limitée")
    if encoding != "UTF-16LE":
        lines = tmp_path / "a.jsonl"
        lines.write_bytes('{"id": 1, "title": "Édition limitée"}\n'.encode(encoding))
        assert _read(spark, lines, ["id", "title"], "jsonl", encoding)[0][0] == ("1", "Édition limitée")


def test_byte_that_the_encoding_does_not_have_costs_one_row(spark: SparkSession, tmp_path: Path) -> None:
    lines = tmp_path / "a.jsonl"
    lines.write_bytes(b'{"id": "a\x81"}\n{"id": "b"}\n')
    rows = _read(spark, lines, ["id"], "jsonl", "windows-1252")
    assert [given for given, _, _ in rows] == [("a\ufffd",), ("b",)]


def test_json_lines_that_are_not_one_object_are_malformed_and_kept_as_they_stood(
    spark: SparkSession, tmp_path: Path
) -> None:
    lines = [
        '\ufeff{"id": 7, "tags": [["a", "b"], ["c"]], "price": 12.50, "on": true}',
        '{"id": "x", "other": {"deep": 1}}',
        "",
        '{"id": 1}{"id": 2}',
        '{"id": 1}, {"id": 2}',
        '[{"id": 1}]',
        '{"id": 1',
        "null",
        "oops",
        '{"id": "last"} ',
    ]
    file = tmp_path / "a.jsonl"
    file.write_bytes("\n".join(lines).encode() + b'\n{"id": "caf\xe9"}')
    rows = _read(spark, file, ["id", "tags", "price", "on"], "jsonl")
    good = [given for given, malformed, _ in rows if not malformed]
    assert good[0][0] == "7"
    assert json.loads(good[0][1]) == [["a", "b"], ["c"]]
    assert (float(good[0][2]), good[0][3]) == (12.5, "true")
    assert [given[0] for given in good[1:]] == ["x", "last", "caf\ufffd"]
    assert [raw for _, malformed, raw in rows if malformed] == lines[3:9]


def _research_set(folder: Path, dates: bool) -> None:
    with gzip.open(folder / "items.jsonl.gz", "wt", encoding="utf-8") as file:
        for item in "abcdef":
            row = {
                "item_id": item,
                "title": None,
                "brand": None,
                "price": None,
                "keyphrases": f"about {item}",
            }
            file.write(json.dumps({**row, "categories": [["Top", item], ["Top", "Mid", item]]}) + "\n")
    days = {1: "2014-03-01", 2: "2014-03-01", 3: "2014-02-01", 4: "", 5: "2014-03-02", 6: "2014-03-02"}
    with gzip.open(folder / "interactions.csv.gz", "wt", encoding="utf-8") as file:
        file.write("user_id,item_id,position,event_date,date_imputed\n")
        # Rows stand against their order, and one repeats another.
        for user in ("u", "v", "w"):
            for place, item in reversed(list(enumerate("abcdef", start=1))):
                file.write(f"{user},{item},{place},{days[place] if dates else ''},0\n")
        file.write(f"u,f,6,{days[6] if dates else ''},0\n")


@pytest.mark.parametrize(("dates", "seed"), [(True, None), (True, 5), (False, 5)])
def test_research_events_keep_their_order_and_only_ties_are_shuffled(
    spark: SparkSession, tmp_path: Path, dates: bool, seed: int | None
) -> None:
    _research_set(tmp_path, dates)
    settings = Settings.model_validate(
        {
            "lake": {"root": str(tmp_path / "lake")},
            "ingest": {
                "research": {"path": str(tmp_path), "shuffle_ties": seed},
                "max_quarantine_share": 0.1,
            },
        }
    )
    lake = _ingest(spark, settings).lake
    assert [(row["rule"], row["source"]) for row in lake.read(tables.QUARANTINE).collect()] == [
        ("duplicate", "interactions")
    ]
    histories: dict[str, list[str]] = {}
    for row in lake.read(tables.INTERACTIONS).orderBy("user_id", "ts").collect():
        histories.setdefault(row["user_id"], []).append(row["item_id"])
    if dates and seed is not None:
        # Of days that run backwards the newest so far counts: a to d are one day, e and f another.
        assert {frozenset(items[:4]) for items in histories.values()} == {frozenset("abcd")}
        assert {frozenset(items[4:]) for items in histories.values()} == {frozenset("ef")}
        assert len({tuple(items) for items in histories.values()}) > 1
    else:
        assert histories == {user: list("abcdef") for user in "uvw"}
    item = lake.read(tables.ITEMS).where("item_id = 'a'").collect()[0]
    assert item["categories"] == ["Top", "Mid", "a"]
    assert item["attributes"] == {"keyphrases": "about a"}
    assert lake.read(tables.CLIENTS).where("NOT consent").count() == 3
