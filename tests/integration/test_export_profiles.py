"""What each profile writes of hostile and oversized rows, and who is left out of audiences."""

from __future__ import annotations

import csv
import dataclasses
import datetime
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from isrf_pipeline.exports import audience_rows, client_lists, profile
from isrf_pipeline.exports.cells import neutralised, on_one_line, shortened, utf16_length, without_markup
from isrf_pipeline.exports.delivery import write_profiles
from isrf_pipeline.exports.profiles import AUDIENCES

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

pytestmark = pytest.mark.spark

NIGHT = datetime.date(2026, 3, 9)
LONG_TITLE = "<b>" + "é" * 300
LONG_ID = "k" * 256
LISTS = (
    "run_date date, user_id string, segment_id string, segment_name string, "
    "listed array<struct<rank:int, item_id:string, title:string, reason:string, score:double, "
    "explicit_share:double, implicit_share:double, because_items:array<string>>>"
)


def entry(item: str, title: str, rank: int = 1) -> tuple[Any, ...]:
    return (rank, item, title, "Goes with i9.", 0.5, 0.5, 0.5, ["i9"])


def lists(spark: SparkSession) -> DataFrame:
    rows = [
        (NIGHT, "0130", "s1", 'Quiet, "old"', [entry("i1", "=1+1"), entry("i2", "Tie\r\nred", 2)]),
        (NIGHT, "u2", None, None, [entry("i1", LONG_TITLE)]),
        (NIGHT, "-7", "s1", "Quiet", [entry("i1", "Bag")]),
        (NIGHT, LONG_ID, "s1", "Quiet", [entry("i1", "Bag")]),
        (NIGHT, "two\nlines", "s1", "Quiet", [entry("i1", "Bag")]),
        (NIGHT, "u6", "s1", "Quiet", [entry("@i", "Bag")]),
        (NIGHT, "u7", "s1", "Quiet", [entry("=" + LONG_ID, "Bag")]),
    ]
    return spark.createDataFrame(rows, LISTS)


@pytest.fixture(scope="module")
def folder(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Files of all profiles, two recommendations a client, Braze in files of one row."""
    folder = tmp_path_factory.mktemp("profiles")
    rows = lists(spark).repartition(3)
    names = ("crm_csv", "sfmc", "braze", "klaviyo")
    profiles = [profile(name, 2) for name in names]
    profiles[2] = dataclasses.replace(profiles[2], max_rows=1)
    audiences = spark.createDataFrame(
        [("=c", "u1", 1, 0.5, "<Fits>"), ("c\t", "u2", 1, 0.25, None)],
        "campaign_id string, user_id string, rank int, score double, reason string",
    )
    deliveries = [(each, rows, ("user_id",)) for each in profiles]
    deliveries.append((AUDIENCES, audiences, ("campaign_id", "rank", "user_id")))
    files = write_profiles(deliveries, folder)
    assert sorted(path.name for path in folder.iterdir()) == sorted(file.path for file in files)
    return folder


def table(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as text:
        return list(csv.DictReader(text, strict=True))


def test_salesforce_rows_have_keys_as_they_are_and_texts_within_their_fields(folder: Path) -> None:
    rows = table(folder / "sfmc_recommendations.csv")
    assert [row["SubscriberKey"] for row in rows] == ["0130", "u2"]
    assert (rows[0]["RunDate"], rows[0]["RecCount"], rows[0]["SegmentName"]) == (
        "2026-03-09",
        "2",
        'Quiet, "old"',
    )
    assert (rows[0]["Rec1Title"], rows[0]["Rec2Title"]) == ("'=1+1", "Tie red")
    # No tag reaches a message, and what is not there is empty.
    assert rows[1]["Rec1Title"] == "‹b›" + "é" * 300
    assert (rows[1]["SegmentId"], rows[1]["Rec2ItemId"]) == ("", "")


def test_braze_files_tell_numbers_from_texts_and_are_divided(folder: Path) -> None:
    first, second = (folder / f"braze_attributes-000{number}.csv" for number in (1, 2))
    header, row, rest = first.read_bytes().decode().split("\r\n")
    assert header.startswith('"external_id","isrf_run_date","isrf_segment_id"') and rest == ""
    # A text of digits keeps its quotes, else it would be read as a number; dates and counts have none.
    assert row.startswith('"0130",2026-03-09,"s1","Quiet, ""old""",2,"i1","\'=1+1","Goes with i9."')
    (cut,) = table(second)
    assert cut["isrf_rec_1_title"] == "‹b›" + "é" * 251 + "…" and len(cut["isrf_rec_1_title"]) == 255
    assert not (folder / "braze_attributes-0003.csv").exists()


def test_a_klaviyo_file_is_the_body_of_one_request(folder: Path) -> None:
    body = json.loads((folder / "klaviyo_profiles-0001.json").read_bytes())["data"]
    assert body["type"] == "profile-bulk-import-job"
    profiles = body["attributes"]["profiles"]["data"]
    # JSON needs neither an apostrophe nor one line: only what is too long is left out.
    assert [each["attributes"]["external_id"] for each in profiles] == [
        "-7",
        "0130",
        "two\nlines",
        "u2",
        "u6",
        "u7",
    ]
    assert {each["type"] for each in profiles} == {"profile"}
    properties = profiles[1]["attributes"]["properties"]
    assert properties["isrf_run_date"] == "2026-03-09" and properties["isrf_rec_count"] == 2
    assert (properties["isrf_rec_1_title"], properties["isrf_rec_2_title"]) == ("=1+1", "Tie red")
    assert profiles[3]["attributes"]["properties"]["isrf_rec_2_item_id"] is None


def test_the_file_for_people_marks_identifiers_and_has_no_limits(folder: Path) -> None:
    rows = table(folder / "crm_recommendations.csv")
    assert [row["user_id"] for row in rows] == ["'-7", "0130", LONG_ID, "u2", "u6", "u7"]
    assert rows[4]["rec_1_item_id"] == "'@i"


def test_rows_that_are_left_out_are_listed_with_the_rule(folder: Path) -> None:
    rows = {
        (row["profile"], row["user_id"], row["column"], row["rule"])
        for row in table(folder / "rejected_rows.csv")
    }
    formula, control = "would be a formula in a spreadsheet", "holds a control character"
    assert rows == {
        ("crm_csv", "two lines", "user_id", control),
        ("sfmc", "'-7", "SubscriberKey", formula),
        ("sfmc", LONG_ID, "SubscriberKey", "longer than 254 bytes"),
        ("sfmc", "two lines", "SubscriberKey", control),
        ("sfmc", "u6", "Rec1ItemId", formula),
        ("sfmc", "u7", "Rec1ItemId", "longer than 254 characters"),
        ("braze", "'-7", "external_id", formula),
        ("braze", LONG_ID, "external_id", "longer than 255 characters"),
        ("braze", "two lines", "external_id", control),
        ("braze", "u6", "isrf_rec_1_item_id", formula),
        ("braze", "u7", "isrf_rec_1_item_id", "longer than 255 characters"),
        ("klaviyo", LONG_ID, "attributes.external_id", "longer than 255 characters"),
        ("audiences", "u2", "campaign_id", control),
    }


def test_audiences_are_one_row_for_each_client(folder: Path) -> None:
    assert table(folder / "audiences.csv") == [
        {"campaign_id": "'=c", "user_id": "u1", "rank": "1", "score": "0.5", "reason": "<Fits>"}
    ]


def test_a_row_larger_than_a_file_is_left_out(spark: SparkSession, tmp_path: Path) -> None:
    rows = spark.createDataFrame(
        [(NIGHT, "u1", None, None, [entry("i1", "x" * 2000)]), (NIGHT, "u2", None, None, [])], LISTS
    )
    limited = profile("crm_jsonl", 1).limited_to(1000)
    write_profiles([(limited, rows, ("user_id",))], tmp_path)
    (line,) = (tmp_path / "crm_recommendations-0001.jsonl").read_text().splitlines()
    assert json.loads(line)["user_id"] == "u2"
    (left_out,) = table(tmp_path / "rejected_rows.csv")
    assert (left_out["column"], left_out["rule"]) == ("", "row larger than 999 bytes")


def test_nobody_without_consent_and_nobody_held_out_is_written_to(spark: SparkSession) -> None:
    clients = spark.createDataFrame(
        [("u1", True), ("u2", False), ("u3", True)], "user_id string, consent boolean"
    )
    plain = spark.createDataFrame(
        [("c", user, rank, 1.0) for rank, user in enumerate(("u1", "u2", "u3", "unknown"))],
        "campaign_id string, user_id string, rank int, score double",
    )
    with_holdout = plain.selectExpr(
        "*", "CASE user_id WHEN 'u1' THEN true WHEN 'unknown' THEN false END AS holdout", "'Fits.' AS reason"
    )

    def users(rows: DataFrame) -> list[tuple[str, str | None]]:
        return sorted((row["user_id"], row["reason"]) for row in rows.collect())

    assert users(audience_rows(plain, clients, require_consent=True)) == [("u1", None), ("u3", None)]
    assert users(audience_rows(with_holdout, clients, require_consent=True)) == [("u3", "Fits.")]
    assert [user for user, _ in users(audience_rows(with_holdout, clients, require_consent=False))] == [
        "u2",
        "u3",
        "unknown",
    ]


def test_consent_is_required_only_where_it_is_asked_for(spark: SparkSession) -> None:
    recommendations = spark.createDataFrame(
        [
            (NIGHT, user, rank, f"i{rank}", 1.0, 0.5, 0.5, "Why.", ["i9"], "s1")
            for user in ("u1", "u2")
            for rank in (2, 1, 3)
        ],
        "run_date date, user_id string, rank int, item_id string, score double, explicit_share double, "
        "implicit_share double, reason string, because_items array<string>, segment_id string",
    )
    items = spark.createDataFrame([("i1", "Bag"), ("i2", None)], "item_id string, title string")
    segments = spark.createDataFrame([("s1", "Quiet")], "segment_id string, name string")
    clients = spark.createDataFrame([("u1", True), ("u2", False)], "user_id string, consent boolean")
    found = {
        consent: client_lists(recommendations, items, segments, clients, 2, require_consent=consent).collect()
        for consent in (True, False)
    }
    assert {row["user_id"] for row in found[False]} == {"u1", "u2"}
    (row,) = found[True]
    assert (row["user_id"], row["segment_name"]) == ("u1", "Quiet")
    # Best first; without a title the identifier stands for it.
    assert [(each["rank"], each["title"]) for each in row["listed"]] == [(1, "Bag"), (2, "i2")]


def test_no_cell_is_a_formula(spark: SparkSession) -> None:
    cells = {
        "=1+1": "'=1+1",
        "+49 30": "'+49 30",
        "-20 %": "'-20 %",
        "@SUM(A1)": "'@SUM(A1)",
        # Else two identifiers would be written alike.
        "'=1+1": "''=1+1",
        "''=1+1": "'" * 3 + "=1+1",
        "'plain": "'plain",
        "\t=1": "' =1",
        "\r=1": "' =1",
        "  =1": "'  =1",
        "\u00a0=1": "'\u00a0=1",
        "\uff1d1": "'\uff1d1",
        "\tplain": " plain",
        "a=b": "a=b",
        "two\r\nlines\u2028here": "two lines here",
        'quote "x", comma': 'quote "x", comma',
        "<script>": "‹script›",
        "": "",
        None: "",
    }
    frame = spark.createDataFrame([(cell,) for cell in cells], "cell string")
    safe = without_markup(neutralised(on_one_line(frame["cell"])))
    found = {row["cell"]: row["safe"] for row in frame.withColumn("safe", safe).collect()}
    assert found == cells


def test_texts_are_cut_between_characters(spark: SparkSession) -> None:
    # Of UTF-16, an emoji has two units and é one.
    cells = {
        "abcdefghij": "abcdefghij",
        "abcdefghijk": "abcdefghi…",
        "é" * 11: "é" * 9 + "…",
        "😀" * 5: "😀" * 5,
        "😀" * 6: "😀" * 3 + "…",
        "abcdefgh😀x": "abcdefgh…",
        "": "",
    }
    frame = spark.createDataFrame([(cell,) for cell in cells], "cell string")
    short = shortened(frame["cell"], 10)
    rows = frame.select("cell", short.alias("short"), utf16_length(short).alias("units")).collect()
    assert {row["cell"]: row["short"] for row in rows} == cells
    assert all(row["units"] == len(row["short"].encode("utf-16-le")) // 2 <= 10 for row in rows)
