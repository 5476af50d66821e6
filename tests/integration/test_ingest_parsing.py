"""Parsing on Spark against plain Python: instants, category paths and scars of wrong decodings."""

from __future__ import annotations

import datetime
import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from isrf_pipeline.ingest.parsing import categories_from_text, category_path, instant
from isrf_pipeline.ingest.rules import wrongly_decoded

if TYPE_CHECKING:
    from collections.abc import Callable

    from pyspark.sql import Column, SparkSession

pytestmark = pytest.mark.spark

#: One example is one Spark job, so each holds many values and there are few.
_FEW = settings(max_examples=5, deadline=None, suppress_health_check=list(HealthCheck), database=None)


def _evaluate(
    spark: SparkSession, values: list[Any], type_: str, expression: Callable[[Column], Column]
) -> list[Any]:
    from pyspark.sql import functions as F

    rows = spark.createDataFrame(list(enumerate(values)), f"place int, value {type_}").repartition(3)
    return [
        row["result"]
        for row in rows.select("place", expression(F.col("value")).alias("result")).orderBy("place").collect()
    ]


def _microseconds(spark: SparkSession, values: list[str]) -> list[int | None]:
    from pyspark.sql import functions as F

    return _evaluate(spark, values, "string", lambda column: F.unix_micros(instant(column)))


_INSTANTS = st.datetimes(
    min_value=datetime.datetime(2000, 1, 1), max_value=datetime.datetime(2100, 1, 1)
).map(lambda naive: naive.replace(tzinfo=datetime.UTC))


def _as_microseconds(moment: datetime.datetime) -> int:
    return (moment - datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)) // datetime.timedelta(microseconds=1)


@_FEW
@given(st.lists(st.tuples(_INSTANTS, st.integers(-14 * 4, 14 * 4)), min_size=1, max_size=40))
def test_iso_instants_keep_their_microseconds_in_every_zone(
    spark: SparkSession, moments: list[tuple[datetime.datetime, int]]
) -> None:
    written, expected = [], []
    for moment, quarters in moments:
        zone = datetime.timezone(datetime.timedelta(minutes=15 * quarters))
        # Microseconds are always written: isoformat leaves zeros out, which is another form of the same.
        written += [
            moment.isoformat(),
            moment.astimezone(zone).isoformat(sep=" ", timespec="microseconds"),
            moment.replace(tzinfo=None).isoformat(),
            moment.strftime("%Y-%m-%dT%H:%M:%SZ"),
            moment.date().isoformat(),
            moment.strftime("%Y%m%d"),
            str(int(moment.timestamp() // 1)),
        ]
        whole, midnight = (
            moment.replace(microsecond=0),
            moment.replace(hour=0, minute=0, second=0, microsecond=0),
        )
        expected += [_as_microseconds(m) for m in (moment, moment, moment, whole, midnight, midnight, whole)]
    assert _microseconds(spark, written) == expected


def test_what_is_no_instant_is_null_and_never_today(spark: SparkSession) -> None:
    texts = ["2024", "2024-05", "12:30", "T12:30", "yesterday", "n/a", "2024-02-30", "2025-13-45T25:61:00Z"]
    texts += [
        "31/12/2024",
        "2024-01-01 noon",
        "0000-00-00 00:00:00",
        "20241345",
        "-5",
        "1e9",
        "١٢٣٤٥٦٧٨٩",
        "",
    ]
    assert _microseconds(spark, texts) == [None] * len(texts)


def test_epochs_by_their_size(spark: SparkSession) -> None:
    assert _microseconds(spark, ["1700000000", "1700000000123", "1700000000123456"]) == [
        1_700_000_000_000_000,
        1_700_000_000_123_000,
        1_700_000_000_123_456,
    ]


_NAME = st.text(
    st.characters(codec="utf-8", exclude_characters=">|[]\x00", exclude_categories=("Cc", "Cs")), max_size=8
)
_PATHS = st.lists(st.lists(_NAME, max_size=4), max_size=4)
_BLANKS = " \t\r\n\u00a0"


def _expected_path(paths: list[list[str]]) -> list[str] | None:
    named = [[name.strip(_BLANKS) for name in path if name.strip(_BLANKS)] for path in paths]
    longest_first = sorted(named, key=len, reverse=True)
    return list(dict.fromkeys(name for path in longest_first for name in path)) or None


@_FEW
@given(st.lists(_PATHS, min_size=1, max_size=30))
def test_category_paths_lose_no_name_and_start_with_the_longest(
    spark: SparkSession, examples: list[list[list[str]]]
) -> None:
    expected = [_expected_path(paths) for paths in examples]
    assert _evaluate(spark, examples, "array<array<string>>", category_path) == expected
    written = [json.dumps(paths, ensure_ascii=False) for paths in examples]
    # An empty list of paths is written like an empty list of names: no category either way.
    assert _evaluate(spark, written, "string", categories_from_text) == expected


@_FEW
@given(
    st.lists(st.lists(_NAME, min_size=1, max_size=5), min_size=1, max_size=30),
    st.sampled_from([" > ", ">", "|"]),
)
def test_separated_and_listed_names_are_one_path(
    spark: SparkSession, paths: list[list[str]], separator: str
) -> None:
    expected = [_expected_path([path]) for path in paths]
    written = [separator.join(path) for path in paths]
    assert _evaluate(spark, written, "string", categories_from_text) == expected
    listed = [json.dumps(path) for path in paths]
    assert _evaluate(spark, listed, "string", categories_from_text) == expected


def test_brackets_that_are_no_list_are_a_name(spark: SparkSession) -> None:
    assert _evaluate(spark, ["[Sale] > Bags", None], "string", categories_from_text) == [
        ["[Sale]", "Bags"],
        None,
    ]


def test_scars_of_wrong_decodings(spark: SparkSession) -> None:
    words = [
        "Lefèvre",
        "Édition limitée – été",
        "“Œuvre” 12 €",
        "maçonnerie à l’œil",
        "Größe ÄÖÜ",
        "Ångström",
        "über",
    ]
    scarred = [word.encode().decode("cp1252", errors="ignore") for word in words]
    scarred += [word.encode("cp1252").decode("utf-8", errors="replace") for word in words]
    scarred += ["bell\x07", "nul\x00", "C1 \x92 quote"]
    clean = [*words, "SÃO PAULO", "PÂTE À SEL", "tab\tand\nline\r\nend", "Ã", "香水", "парфюм", "عطر"]
    found = _evaluate(spark, [*scarred, *clean], "string", wrongly_decoded)
    missed = [text for text, hit in zip(scarred, found, strict=False) if not hit]
    assert missed == []
    assert found[len(scarred) :] == [False] * len(clean)
