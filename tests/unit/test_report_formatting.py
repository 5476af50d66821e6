"""Numbers read the same wherever they stand."""

from __future__ import annotations

import datetime

import pytest

from isrf_pipeline.report import formatting as fmt


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (9_999, "9,999"),
        (12_400, "12.4 k"),
        (412_000, "412 k"),
        (1_280_000, "1.28 M"),
        (3.05e9, "3.05 bn"),
    ],
)
def test_compact(value: float, text: str) -> None:
    assert fmt.compact(value).replace("\u202f", " ") == text


@pytest.mark.parametrize(
    ("value", "text"), [(8.44, "8.4 s"), (59.96, "1 min 00 s"), (185, "3 min 05 s"), (7_620, "2 h 07 min")]
)
def test_seconds(value: float, text: str) -> None:
    assert fmt.seconds(value).replace("\u202f", " ") == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (200.0, "200"),
        (42_644.4, "42,644"),
        (141.23, "141.2"),
        (9.81, "9.81"),
        (0.03121, "0.031"),
        (None, "–"),
    ],
)
def test_measure(value: float | None, text: str) -> None:
    assert fmt.measure(value) == text


def test_percent_and_days() -> None:
    assert [fmt.percent(share).replace("\u202f", " ") for share in (0.1512, 1, 0, None)] == [
        "15.1 %",
        "100 %",
        "0 %",
        "–",
    ]
    assert fmt.day(datetime.date(2026, 3, 9)) == "9 March 2026"
    assert fmt.short_day(datetime.date(2026, 3, 9)) == "9 Mar 2026"


def test_names_for_people() -> None:
    assert fmt.words("build_user_graph") == "build user graph"
    assert fmt.model_name("mllib_als") == "MLlib ALS"
    assert fmt.model_name("item_knn") == "item knn"
    assert fmt.origin_name("llm") == "Language model"
