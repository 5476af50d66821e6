"""What ingest says and when it refuses, without Spark."""

from __future__ import annotations

import pytest

from isrf_pipeline.errors import InputRefusedError, IsrfError
from isrf_pipeline.ingest.quarantine import SourceCount, refuse_dirty, require_nothing_lost
from isrf_pipeline.ingest.sources import Source, nearest, require_columns, unreadable

_SOURCE = Source("purchases", "raw/purchases.csv", "csv")


@pytest.mark.parametrize(
    ("name", "candidates", "expected"),
    [
        ("purchase.csv", ["views.parquet", "purchases.csv"], "purchases.csv"),
        ("Client_Ref", ["client_ref", "article_code"], "client_ref"),
        ("ts", ["client_ref", "article_code"], None),
        ("sold", [], None),
    ],
)
def test_nearest_name(name: str, candidates: list[str], expected: str | None) -> None:
    assert nearest(name, candidates) == expected


def test_missing_column_names_the_nearest_and_counts_the_others() -> None:
    with pytest.raises(InputRefusedError) as refused:
        require_columns(_SOURCE, ["client_id", "sold", "qty"], ["client_ref", "sold_at", "qty"])
    assert refused.value.exit_code == 3
    assert str(refused.value) == (
        "source 'purchases' (raw/purchases.csv): has no column 'client_id' (nor sold); "
        "did you mean 'client_ref'; correct the column mapping."
    )
    require_columns(_SOURCE, ["qty"], ["client_ref", "sold_at", "qty"])


def test_share_at_the_limit_passes_and_above_it_is_refused() -> None:
    refuse_dirty(_SOURCE, SourceCount(95, {"duplicate": 5}), 0.05)
    with pytest.raises(InputRefusedError) as refused:
        refuse_dirty(_SOURCE, SourceCount(94, {"duplicate": 2, "missing_id": 4}), 0.05)
    message = str(refused.value)
    for part in ("purchases", "6 of 100", "6.0%", "missing_id (4)", "5.0%", "nothing was changed"):
        assert part in message
    assert "\n" not in message


def test_source_without_rows_is_refused_whatever_the_share() -> None:
    with pytest.raises(InputRefusedError, match="has no rows"):
        refuse_dirty(_SOURCE, SourceCount(), 1.0)


def test_lost_or_doubled_rows_fail_loudly() -> None:
    require_nothing_lost(10, 10)
    for written in (9, 11):
        with pytest.raises(IsrfError, match="read 10 rows") as failed:
            require_nothing_lost(10, written)
        assert failed.value.exit_code == 1


def test_error_of_the_reader_becomes_one_line() -> None:
    refused = unreadable(_SOURCE, ValueError("\nbroken header\n  at Reader.scala:12"))
    assert str(refused).startswith("source 'purchases' (raw/purchases.csv): cannot be read as csv")
    assert "broken header" in str(refused)
    assert "Reader.scala" not in str(refused)
