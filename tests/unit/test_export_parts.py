"""Profiles as they are declared, and rows divided into numbered files within their limits."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from isrf_pipeline.config import Settings
from isrf_pipeline.config.export_settings import ExportProfileName
from isrf_pipeline.exports.parts import Part, write_parts
from isrf_pipeline.exports.profiles import AUDIENCES, REJECTED, ExportColumn, Layout, Profile, profile

NAMES = get_args(ExportProfileName)


def small(**limits: int | None) -> Profile:
    """A CSV of one column: six bytes of header, ``"a"`` and CRLF."""
    return dataclasses.replace(Profile("small", "rows", ".csv", (ExportColumn("a", "a"),)), **limits)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", NAMES)
def test_every_profile_is_declared_for_any_number_of_recommendations(name: ExportProfileName) -> None:
    for count in (1, 20):
        declared = profile(name, count)
        headers = [column.name for column in declared.columns]
        assert declared.name == name and len(headers) == len(set(headers))
        # Whose the row is must never be shortened.
        assert "user_id" in {column.source for column in declared.columns if column.kind == "identifier"}
        assert not any(column.kind == "structure" and declared.delimiter for column in declared.columns)


def test_no_two_files_of_a_night_have_the_same_name() -> None:
    names = [profile(name, 3).file_name(1) for name in NAMES] + [
        AUDIENCES.file_name(1),
        REJECTED.file_name(1),
    ]
    assert len(set(names)) == len(names)
    assert "crm_recommendations.csv" in names and "braze_attributes-0001.csv" in names


def test_limits_are_those_of_the_import_documentation() -> None:
    sfmc, braze, klaviyo = (profile(name, 1) for name in ("sfmc", "braze", "klaviyo"))
    assert (sfmc.columns[0].name, sfmc.columns[0].max_bytes) == ("SubscriberKey", 254)
    assert all((column.max_length or 0) <= 4000 for column in sfmc.columns)
    assert braze.columns[0].name == "external_id" and braze.max_bytes == 500_000_000
    assert {column.max_length for column in braze.columns if column.kind == "text"} == {255}
    assert (klaviyo.max_rows, klaviyo.max_bytes, klaviyo.max_row_bytes) == (10_000, 5_000_000, 100_000)


def test_a_row_of_any_texts_keeps_the_limit_of_a_klaviyo_profile() -> None:
    # Three recommendations, each text and identifier of as many bytes as its limit allows.
    largest = sum(
        3 * (column.max_length or 20) + len(column.name) + 8 for column in profile("klaviyo", 3).columns
    )
    assert largest < 100_000


def test_files_are_whole_json_documents(tmp_path: Path) -> None:
    declared = dataclasses.replace(profile("klaviyo", 1), max_rows=2)
    rows = [
        json.dumps({"type": "profile", "attributes": {"external_id": f"u{n}"}}).encode() for n in range(3)
    ]
    parts = write_parts(rows, tmp_path, declared)
    assert parts == [Part("klaviyo_profiles-0001.json", 2), Part("klaviyo_profiles-0002.json", 1)]
    ids = []
    for part in parts:
        body = json.loads((tmp_path / part.name).read_bytes())["data"]
        assert body["type"] == "profile-bulk-import-job"
        ids.append([row["attributes"]["external_id"] for row in body["attributes"]["profiles"]["data"]])
    assert ids == [["u0", "u1"], ["u2"]]
    # A request without a profile would be refused.
    assert write_parts([], tmp_path, declared) == []


def test_an_empty_csv_has_its_header_and_empty_json_lines_nothing(tmp_path: Path) -> None:
    assert write_parts([], tmp_path, small()) == [Part("rows.csv", 0)]
    assert (tmp_path / "rows.csv").read_bytes() == b'"a"\r\n'
    assert write_parts([], tmp_path, profile("crm_jsonl", 1)) == [Part("crm_recommendations.jsonl", 0)]
    assert (tmp_path / "crm_recommendations.jsonl").read_bytes() == b""


def test_a_file_that_is_full_to_the_byte_is_not_divided(tmp_path: Path) -> None:
    # Header and CRLF are 5 bytes, each row with CRLF is 5.
    rows = [b'"x"', b'"y"', b'"z"']
    assert [part.rows for part in write_parts(rows, tmp_path, small(max_bytes=15))] == [2, 1]
    assert (tmp_path / "rows-0001.csv").stat().st_size == 15
    assert [part.rows for part in write_parts(rows, tmp_path, small(max_bytes=14))] == [1, 1, 1]


@given(
    st.lists(st.text(alphabet="aé😀", max_size=12), max_size=40),
    st.integers(1, 9),
    st.integers(70, 200),
)
def test_no_limit_is_broken_and_no_row_is_lost(
    tmp_path_factory: pytest.TempPathFactory, texts: list[str], max_rows: int, max_bytes: int
) -> None:
    folder = tmp_path_factory.mktemp("parts")
    frame = Layout(prefix="[", between=",", after_each="", suffix="]")
    declared = dataclasses.replace(
        small(max_rows=max_rows, max_bytes=max_bytes), delimiter=None, json_frame=frame
    )
    parts = write_parts((json.dumps(text, ensure_ascii=False).encode() for text in texts), folder, declared)
    found = []
    for part in parts:
        content = (folder / part.name).read_bytes()
        rows = json.loads(content)
        assert len(content) <= max_bytes and len(rows) == part.rows <= max_rows
        found += rows
    assert found == texts
    assert [part.name for part in parts] == [f"rows-{n + 1:04d}.csv" for n in range(len(parts))]


def test_a_limit_given_by_settings_only_makes_files_smaller() -> None:
    braze = profile("braze", 1)
    assert braze.limited_to(None) == braze == braze.limited_to(600_000_000)
    assert braze.limited_to(1_000_000).max_bytes == 1_000_000
    crm = profile("crm_csv", 1)
    assert crm.row_limit is None
    limited = crm.limited_to(1_000_000)
    # What a row may have is less than a file by header and line end.
    assert limited.row_limit == 1_000_000 - len(crm.layout.prefix) - 2
    assert limited.file_name(2) == "crm_recommendations-0002.csv"


def test_a_profile_is_named_once() -> None:
    def exporting(**values: object) -> Settings:
        return Settings.model_validate({"lake": {"root": "lake"}, "export": values})

    assert exporting().export.profiles == ["crm_csv", "crm_jsonl"]
    assert exporting(profiles=[], bi=[]).export.bi == []
    with pytest.raises(ValidationError, match="braze must be named once"):
        exporting(profiles=["braze", "braze"])
    with pytest.raises(ValidationError):
        exporting(profiles=["mailchimp"])
