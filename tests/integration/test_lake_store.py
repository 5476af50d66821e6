"""The store keeps the declared shape of tables, and its writes are all or nothing."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from isrf_pipeline.config import Settings
from isrf_pipeline.config.settings import LakeSettings
from isrf_pipeline.errors import EnvironmentMismatchError, IsrfError, MissingTableError
from isrf_pipeline.lake import Column, Lake, Table
from isrf_pipeline.lake.commits import CommitLog
from isrf_pipeline.lake.tables import ALL_TABLES

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

SCORES = Table(
    "gold.scores",
    "One client's score of one night",
    ("run_date", "user_id"),
    (
        Column("run_date", "date", "Night", nullable=False),
        Column("user_id", "string", "Client's identifier", nullable=False),
        Column("score", "double", "Score; it's between 0 and 1"),
    ),
    {"score_in_range": "score IS NULL OR (score >= 0 AND score <= 1)"},
)
FIRST, SECOND = datetime.date(2026, 6, 29), datetime.date(2026, 6, 30)


def scores(spark: SparkSession, *rows: tuple[Any, ...]) -> DataFrame:
    return spark.createDataFrame(list(rows), SCORES.ddl().replace(" NOT NULL", ""))


def content(lake: Lake) -> set[tuple[Any, ...]]:
    return {tuple(row) for row in lake.read(SCORES).collect()}


def night(date: datetime.date) -> str:
    return f"run_date = '{date}'"


def test_a_created_table_has_comments_types_and_nullability(spark: SparkSession, lake: Lake) -> None:
    lake.create(SCORES)
    fields = {field.name: field for field in spark.table(lake.address(SCORES)).schema.fields}
    assert list(fields) == ["run_date", "user_id", "score"]
    assert [field.nullable for field in fields.values()] == [False, False, True]
    described = spark.sql(f"DESCRIBE TABLE {lake.address(SCORES)}").collect()
    comments = {row["col_name"]: row["comment"] for row in described}
    assert comments["score"] == "Score; it's between 0 and 1"
    detail = spark.sql(f"DESCRIBE DETAIL {lake.address(SCORES)}").first()
    assert detail is not None
    assert detail["description"] == "One client's score of one night"


def test_a_table_is_created_in_one_commit_and_only_once(lake: Lake) -> None:
    lake.create(SCORES)
    assert lake.version(SCORES) == 0
    lake.create(SCORES)
    assert lake.version(SCORES) == 0


@pytest.mark.parametrize(
    ("row", "rule"), [((FIRST, "a", 1.5), "score_in_range"), ((FIRST, None, 0.5), "(?i)null")]
)
def test_a_row_that_breaks_a_rule_stops_the_whole_write(
    spark: SparkSession, lake: Lake, row: tuple[Any, ...], rule: str
) -> None:
    lake.overwrite(SCORES, scores(spark, (FIRST, "kept", 0.1)))
    with pytest.raises(Exception, match=rule):
        lake.overwrite(SCORES, scores(spark, (FIRST, "good", 0.2), row))
    assert content(lake) == {(FIRST, "kept", 0.1)}


def test_overwriting_a_night_keeps_the_others_and_repeats_safely(spark: SparkSession, lake: Lake) -> None:
    lake.overwrite(SCORES, scores(spark, (FIRST, "a", 0.1)), night(FIRST))
    for _ in range(2):
        written = lake.overwrite(SCORES, scores(spark, (SECOND, "a", 0.2), (SECOND, "b", 0.3)), night(SECOND))
        assert written == 2
    assert content(lake) == {(FIRST, "a", 0.1), (SECOND, "a", 0.2), (SECOND, "b", 0.3)}


def test_a_row_outside_the_night_is_refused(spark: SparkSession, lake: Lake) -> None:
    lake.overwrite(SCORES, scores(spark, (FIRST, "a", 0.1)), night(FIRST))
    with pytest.raises(Exception, match=r"replaceWhere|DELTA_REPLACE_WHERE"):
        lake.overwrite(SCORES, scores(spark, (SECOND, "a", 0.2)), night(FIRST))
    assert content(lake) == {(FIRST, "a", 0.1)}


def test_a_table_can_be_overwritten_from_itself(spark: SparkSession, lake: Lake) -> None:
    from pyspark.sql import functions as F

    lake.overwrite(SCORES, scores(spark, (FIRST, "a", 0.2), (FIRST, "b", 0.4)))
    lake.overwrite(SCORES, lake.read(SCORES).withColumn("score", F.col("score") * 2))
    assert content(lake) == {(FIRST, "a", 0.4), (FIRST, "b", 0.8)}


def test_an_empty_night_replaces_a_full_one(spark: SparkSession, lake: Lake) -> None:
    lake.overwrite(SCORES, scores(spark, (FIRST, "a", 0.2)), night(FIRST))
    assert lake.overwrite(SCORES, scores(spark), night(FIRST)) == 0
    assert content(lake) == set()


def test_append_counts_its_rows_and_moves_the_version(spark: SparkSession, lake: Lake) -> None:
    assert lake.version(SCORES) == -1
    assert lake.append(SCORES, scores(spark, (FIRST, "a", 0.2), (FIRST, "b", None))) == 2
    before = lake.version(SCORES)
    assert lake.append(SCORES, scores(spark, (FIRST, "c", 0.2))) == 1
    assert lake.version(SCORES) == before + 1


def test_versions_and_counts_are_those_of_the_history(
    spark: SparkSession, lake: Lake, lake_settings: Settings
) -> None:
    # The eleventh commit leaves a checkpoint, from which a lake that knows nothing of the table begins.
    for place in range(12):
        assert (
            lake.append(SCORES, scores(spark, *[(FIRST, f"{place}-{row}", 0.2) for row in range(place)]))
            == place
        )
        (newest,) = spark.sql(f"DESCRIBE HISTORY {lake.address(SCORES)} LIMIT 1").collect()
        other = Lake(spark, lake_settings.lake)
        assert lake.version(SCORES) == other.version(SCORES) == newest["version"]
        assert CommitLog(spark, lake.path(SCORES)).metrics(newest["version"]) == newest["operationMetrics"]
    assert (Path(lake.path(SCORES)) / "_delta_log" / "_last_checkpoint").is_file()
    # What another process wrote counts as well.
    assert Lake(spark, lake_settings.lake).append(SCORES, scores(spark, (SECOND, "a", 0.1))) == 1
    assert lake.append(SCORES, scores(spark, (SECOND, "b", 0.1), (SECOND, "c", 0.1))) == 2
    assert lake.version(SCORES) == newest["version"] + 2


def test_the_newest_version_without_a_note(spark: SparkSession, lake: Lake, lake_settings: Settings) -> None:
    assert lake.version_without(SCORES, "kept") == -1
    rows = scores(spark, (FIRST, "a", 0.2))
    # The table's creation is version 0.
    for note in (None, "kept", "rounds", "kept"):
        lake.overwrite(SCORES, rows, note=note)
    for asked in (lake, Lake(spark, lake_settings.lake)):
        assert asked.version_without(SCORES) == 4
        assert asked.version_without(SCORES, "kept") == 3
        assert asked.version_without(SCORES, "rounds", "kept") == 1
        assert asked.version_without(SCORES, "rounds") == 4
    # Delta removes old commits from its log: what they were is not known any more.
    for version in (0, 1):
        (Path(lake.path(SCORES)) / "_delta_log" / f"{version:020}.json").unlink()
    assert lake.version_without(SCORES, "rounds", "kept") == -1


def test_columns_are_taken_by_name_cast_and_cut_to_the_declared_ones(spark: SparkSession, lake: Lake) -> None:
    rows = spark.createDataFrame(
        [("x", 1, "a", "2026-06-29")], "extra string, score int, user_id string, run_date string"
    )
    lake.append(SCORES, rows)
    assert content(lake) == {(FIRST, "a", 1.0)}


def test_a_lacking_column_is_named(spark: SparkSession, lake: Lake) -> None:
    with pytest.raises(IsrfError, match=r"gold\.scores: rows lack the columns score"):
        lake.append(SCORES, scores(spark, (FIRST, "a", 0.1)).drop("score"))
    assert not lake.exists(SCORES)


def test_a_missing_table_is_refused_input(lake: Lake) -> None:
    with pytest.raises(MissingTableError, match=r"gold\.scores: does not exist in the lake") as caught:
        lake.read(SCORES)
    assert caught.value.exit_code == 3


def test_a_root_that_cannot_be_written_is_one_line(spark: SparkSession, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("not a folder", encoding="utf-8")
    lake = Lake(spark, LakeSettings(root=str(file / "lake")))
    with pytest.raises(EnvironmentMismatchError, match="the lake cannot be written") as caught:
        lake.append(SCORES, scores(spark, (FIRST, "a", 0.1)))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["a lake", "läke", "it's"])
def test_a_root_with_unusual_characters_works(spark: SparkSession, tmp_path: Path, name: str) -> None:
    lake = Lake(spark, LakeSettings(root=str(tmp_path / name)))
    lake.overwrite(SCORES, scores(spark, (FIRST, "a", 0.1)), night(FIRST))
    assert content(lake) == {(FIRST, "a", 0.1)}
    assert (tmp_path / name / "gold" / "scores" / "_delta_log").is_dir()


def test_a_relative_root_is_below_the_working_folder(
    spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    lake = Lake(spark, LakeSettings(root="my/lake"))
    lake.append(SCORES, scores(spark, (FIRST, "a", 0.1)))
    assert content(lake) == {(FIRST, "a", 0.1)}
    assert (tmp_path / "my" / "lake" / "gold" / "scores").is_dir()


def test_a_root_as_file_address_with_a_trailing_slash_works(spark: SparkSession, tmp_path: Path) -> None:
    lake = Lake(spark, LakeSettings(root=f"file://{tmp_path}/lake/"))
    lake.append(SCORES, scores(spark, (FIRST, "a", 0.1)))
    assert content(lake) == {(FIRST, "a", 0.1)}


def test_every_declared_table_can_be_created(spark: SparkSession, lake: Lake) -> None:
    for table in ALL_TABLES.values():
        lake.create(table)
        assert spark.table(lake.address(table)).columns == table.column_names()
        assert set(table.key) <= set(table.column_names())
