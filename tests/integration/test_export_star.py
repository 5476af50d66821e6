"""The star schema as DuckDB and pandas read it: joins that lose nothing, and a comment on every column."""

from __future__ import annotations

import datetime
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import pytest
from pyarrow import parquet

from isrf_pipeline.config.settings import LakeSettings
from isrf_pipeline.exports import NightTables, star_frames
from isrf_pipeline.exports.delivery import write_star
from isrf_pipeline.lake import Lake, Table, bi_tables, tables

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

pytestmark = pytest.mark.spark

#: A Sunday in the first ISO week of the next year.
NIGHT = datetime.date(2027, 1, 3)


@pytest.fixture(scope="module")
def star(spark: SparkSession) -> list[tuple[Table, DataFrame]]:
    def frame(table: Table, *rows: tuple[Any, ...]) -> DataFrame:
        whole = [(*row, *[None] * (len(table.columns) - len(row))) for row in rows]
        return spark.createDataFrame(whole, table.ddl()).repartition(2)

    def offer(user: str, rank: int, item: str, segment: str | None) -> tuple[Any, ...]:
        return (NIGHT, user, rank, item, 1.0 / rank, 0.75, 0.25, f"Goes with {item}.", ["i9", 'i"8'], segment)

    return star_frames(
        NightTables(
            run_date=NIGHT,
            current=NIGHT,
            # u1 and U1 differ in case alone; u3 is in no list of clients and i3 in no catalogue.
            recommendations=frame(
                tables.RECOMMENDATIONS,
                offer("u1", 1, "i1", "s1"),
                offer("u1", 2, "i2", "s1"),
                offer("U1", 1, "i1", None),
                offer("u3", 1, "i3", "s2"),
            ),
            segments=frame(
                tables.SEGMENTS, (NIGHT, "s1", "Quiet", "Who like it quiet.", 1, ["calm", "soft"])
            ),
            members=frame(tables.SEGMENT_MEMBERS, (NIGHT, "s1", "u1", 1.0), (NIGHT, "s2", "u3", 0.5)),
            heroes=frame(tables.HERO_ITEMS, (NIGHT, "i1", 1, 2, 2, 1.5)),
            related=frame(tables.RELATED_ITEMS, (NIGHT, "i1", 1, "i4", 3.0, "followed_by")),
            audiences=frame(
                tables.AUDIENCES, (NIGHT, "spring", "u1", 1, 0.9), (NIGHT, "spring", "u5", 2, 0.1)
            ),
            items=frame(
                tables.ITEMS,
                (
                    "i1",
                    "Bag",
                    "Aurèle",
                    ["bags", "small"],
                    None,
                    120.0,
                    {"z": "1", "a": "2"},
                    True,
                    None,
                    "0" * 64,
                ),
                ("i2", "Tie", None, None, None, None, {}, False, NIGHT, "0" * 64),
            ),
            clients=frame(
                tables.CLIENTS,
                ("u1", {"tier": "gold", "city": "Lyon"}, True),
                ("U1", {}, False),
                ("u2", {}, True),
            ),
        )
    )


@pytest.fixture(scope="module")
def folder(star: list[tuple[Table, DataFrame]], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("star")
    write_star(star, folder)
    return folder / "bi"


def read(folder: Path, name: str) -> pd.DataFrame:
    return pd.read_parquet(folder / name)


def test_pandas_reads_the_dimensions(folder: Path) -> None:
    clients = read(folder, "dim_client").set_index("user_id")
    assert set(clients.index) == {"u1", "U1", "u2", "u3", "u5"}
    assert clients["client_key"].is_unique
    assert clients.loc["u1", ["consent", "segment_id", "segment_name"]].tolist() == [True, "s1", "Quiet"]
    assert json.loads(clients.loc["u1", "attributes"]) == {"city": "Lyon", "tier": "gold"}
    assert clients.loc["u1", "attributes"].startswith('{"city"')
    assert pd.isna(clients.loc["u3", "consent"]) and clients.loc["u3", "segment_id"] == "s2"
    items = read(folder, "dim_item").set_index("item_id")
    assert set(items.index) == {"i1", "i2", "i3", "i4"}
    assert items.loc["i1", ["title", "category", "category_path"]].tolist() == ["Bag", "bags", "bags > small"]
    assert pd.isna(items.loc["i3", "title"]) and pd.isna(items.loc["i2", "price"])
    segments = read(folder, "dim_segment").set_index("segment_id")
    assert segments.loc["s1", ["name", "top_features"]].tolist() == ["Quiet", "calm, soft"]
    assert pd.isna(segments.loc["s2", "name"])
    assert segments.loc["", "name"] == "No segment" and pd.isna(segments.loc["", "size"])
    assert clients.loc["u2", "segment_key"] == segments.loc["", "segment_key"]


def test_the_night_is_described_by_its_date_alone(folder: Path) -> None:
    (night,) = read(folder, "dim_night").to_dict("records")
    assert night == {
        "run_date": NIGHT,
        "year": 2027,
        "quarter": 1,
        "month": 1,
        "month_name": "January",
        "iso_year": 2026,
        "iso_week": 53,
        "day_of_month": 3,
        "day_of_week": 7,
        "day_name": "Sunday",
        "is_weekend": True,
        "is_current": True,
    }


def test_every_key_of_a_fact_is_in_its_dimension(folder: Path) -> None:
    keys = {
        "client_key": set(read(folder, "dim_client")["client_key"]),
        "item_key": set(read(folder, "dim_item")["item_key"]),
        "related_item_key": set(read(folder, "dim_item")["item_key"]),
        "segment_key": set(read(folder, "dim_segment")["segment_key"]),
        "run_date": set(read(folder, "dim_night")["run_date"]),
    }
    for table in bi_tables.FACTS:
        facts = read(folder, table.name.removeprefix("bi."))
        assert len(facts) > 0
        assert not facts.duplicated(subset=list(table.key)).any()
        for name in keys.keys() & set(facts.columns):
            # A null among the keys would make floating point of them.
            assert facts[name].dtype == (object if name == "run_date" else "int64")
            assert set(facts[name]) <= keys[name], (table.name, name)


def test_reasons_and_holdout_of_audiences_may_be_unknown(folder: Path) -> None:
    audience = read(folder, "fact_audience")
    assert audience["holdout"].isna().all() and audience["reason"].isna().all()
    assert audience.sort_values("rank")["score"].tolist() == [0.9, 0.1]


def test_every_column_has_its_comment_in_the_files(folder: Path) -> None:
    for table in bi_tables.STAR_TABLES:
        path = folder / table.name.removeprefix("bi.") / "part-00000.parquet"
        stored = json.loads(parquet.read_schema(path).metadata[b"org.apache.spark.sql.parquet.row.metadata"])
        found = {field["name"]: field["metadata"].get("comment") for field in stored["fields"]}
        assert found == {column.name: column.comment for column in table.columns}
        assert all(found.values())


def test_keys_are_the_same_on_every_night(spark: SparkSession, folder: Path) -> None:
    clients = read(folder, "dim_client").set_index("user_id")
    (row,) = spark.sql("SELECT xxhash64('u1') AS client").collect()
    assert clients.loc["u1", "client_key"] == row["client"] == -5294616631767451713


def test_duckdb_joins_facts_and_dimensions_and_sees_the_comments(folder: Path) -> None:
    duckdb = pytest.importorskip("duckdb")
    with duckdb.connect() as connection:
        for table in bi_tables.STAR_TABLES:
            name = table.name.removeprefix("bi.")
            connection.execute(
                f"CREATE VIEW {name} AS SELECT * FROM read_parquet('{folder}/{name}/*.parquet')"
            )
        rows = connection.execute(
            """
            SELECT n.day_name, c.user_id, i.item_id, i.title, s.name, f.explicit_share,
                   json_extract_string(f.because_items, '$[1]')
            FROM fact_recommendation f
            JOIN dim_night n USING (run_date)
            JOIN dim_client c USING (client_key)
            JOIN dim_item i USING (item_key)
            JOIN dim_segment s ON s.segment_key = f.segment_key
            ORDER BY c.user_id, f.rank
            """
        ).fetchall()
        comments = connection.execute(
            f"SELECT decode(value) FROM parquet_kv_metadata('{folder}/fact_hero_item/*.parquet') "
            "WHERE decode(key) = 'org.apache.spark.sql.parquet.row.metadata'"
        ).fetchall()
    assert rows == [
        ("Sunday", "U1", "i1", "Bag", "No segment", 0.75, 'i"8'),
        ("Sunday", "u1", "i1", "Bag", "Quiet", 0.75, 'i"8'),
        ("Sunday", "u1", "i2", "Tie", "Quiet", 0.75, 'i"8'),
        ("Sunday", "u3", "i3", None, None, 0.75, 'i"8'),
    ]
    assert "Clients it is recommended to" in comments[0][0]


def test_delta_tables_are_read_by_duckdb_and_pandas_too(
    spark: SparkSession, star: list[tuple[Table, DataFrame]], tmp_path: Path
) -> None:
    lake = Lake(spark, LakeSettings(root=str(tmp_path / "lake")))
    heroes = {table.name: (table, rows) for table, rows in star}["bi.fact_hero_item"]
    for _ in range(2):
        lake.overwrite(*heroes, where=f"run_date = '{NIGHT}'")
    described = spark.sql(f"DESCRIBE TABLE {lake.address(heroes[0])}").collect()
    comments = {row["col_name"]: row["comment"] for row in described}
    assert all(comments[column.name] == column.comment for column in heroes[0].columns)
    # The files of the table's newest version; the version before still lies beside them.
    files = [path.removeprefix("file:") for path in lake.read(heroes[0]).inputFiles()]
    (row,) = pd.read_parquet(files).to_dict("records")
    assert (row["run_date"], row["rank"], row["reach"], row["lift"]) == (NIGHT, 1, 2, 1.5)
    duckdb = pytest.importorskip("duckdb")
    with duckdb.connect() as connection:
        assert connection.execute("SELECT rank, reach, lift FROM read_parquet(?)", [files]).fetchall() == [
            (1, 2, 1.5)
        ]
