"""Where exports go, how they replace the last ones, and what the manifest says."""

from __future__ import annotations

import datetime
import hashlib
import json
from pathlib import Path

import pytest

from isrf_pipeline.config import Settings
from isrf_pipeline.errors import ConfigurationError, EnvironmentMismatchError
from isrf_pipeline.exports import export_folder, point_to_current, replaced_folder, write_manifest
from isrf_pipeline.exports.manifest import describe_file

NIGHT = datetime.date(2026, 3, 9)


def settings(root: str, directory: str | None = None) -> Settings:
    return Settings.model_validate({"lake": {"root": root}, "export": {"directory": directory}})


def test_the_folder_is_below_the_lake_unless_named(tmp_path: Path) -> None:
    lake = tmp_path / "lake"
    assert export_folder(settings(f"{lake}/"), NIGHT) == lake / "exports" / "2026-03-09"
    assert export_folder(settings(f"file://{lake}"), NIGHT) == lake / "exports" / "2026-03-09"
    named = export_folder(settings("s3a://bucket/lake", str(tmp_path / "out")), NIGHT)
    assert named == tmp_path / "out" / "2026-03-09"


def test_an_object_store_is_refused_in_one_line() -> None:
    with pytest.raises(ConfigurationError) as refusal:
        export_folder(settings("s3a://bucket/lake"), NIGHT)
    assert "\n" not in str(refusal.value)
    assert "s3a://bucket/lake/exports" in str(refusal.value)
    assert "export.directory" in refusal.value.mend


def test_a_new_set_replaces_the_old_one_as_a_whole(tmp_path: Path) -> None:
    final = tmp_path / "2026-03-09"
    for name in ("old.csv", "new.csv"):
        with replaced_folder(final) as staging:
            (staging / name).touch()
            assert not (final / name).exists()
    assert [path.name for path in final.iterdir()] == ["new.csv"]
    assert [path.name for path in tmp_path.iterdir()] == ["2026-03-09"]


def test_a_failure_leaves_the_old_files_and_nothing_else(tmp_path: Path) -> None:
    final = tmp_path / "2026-03-09"
    with replaced_folder(final) as staging:
        (staging / "kept.csv").touch()
    with pytest.raises(RuntimeError), replaced_folder(final) as staging:
        (staging / "half.csv").touch()
        raise RuntimeError("the disk is full")
    assert [path.name for path in final.iterdir()] == ["kept.csv"]
    assert [path.name for path in tmp_path.iterdir()] == ["2026-03-09"]


def test_files_of_a_run_that_died_between_the_renames_are_put_back(tmp_path: Path) -> None:
    final, previous = tmp_path / "2026-03-09", tmp_path / ".2026-03-09.previous"
    previous.mkdir()
    (previous / "kept.csv").touch()
    (tmp_path / ".2026-03-09.writing").mkdir()
    with pytest.raises(RuntimeError), replaced_folder(final):
        assert (final / "kept.csv").exists()
        raise RuntimeError("died again")
    assert (final / "kept.csv").exists()


def test_a_folder_that_cannot_be_written_is_said_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "exports").write_text("a file, not a folder")
    with (
        pytest.raises(EnvironmentMismatchError, match=r"cannot be written.*export\.directory"),
        replaced_folder(tmp_path / "exports" / "2026-03-09"),
    ):
        pass


def test_the_manifest_names_every_file_with_rows_and_hash(tmp_path: Path) -> None:
    (tmp_path / "part").mkdir()
    table, page = tmp_path / "part" / "a.csv", tmp_path / "report.html"
    table.write_bytes(b"x\r\n1\r\n")
    page.write_bytes(b"<p>")
    files = [describe_file(tmp_path, page, None), describe_file(tmp_path, table, 1)]
    first = write_manifest(tmp_path, NIGHT, files).read_bytes()
    assert json.loads(first) == {
        "run_date": "2026-03-09",
        "files": [
            {
                "path": "part/a.csv",
                "rows": 1,
                "bytes": 6,
                "sha256": hashlib.sha256(b"x\r\n1\r\n").hexdigest(),
            },
            {"path": "report.html", "bytes": 3, "sha256": hashlib.sha256(b"<p>").hexdigest()},
        ],
    }
    assert write_manifest(tmp_path, NIGHT, reversed(files)).read_bytes() == first
    assert not list(tmp_path.glob("*.partial"))


def test_latest_names_the_current_night(tmp_path: Path) -> None:
    for name in ("2026-03-08", "2026-03-09"):
        (tmp_path / name).mkdir()
        write_manifest(tmp_path / name, NIGHT, [])
    for day in (9, 8):
        night = datetime.date(2026, 3, day)
        latest = point_to_current(tmp_path, night)
        assert latest == tmp_path / "latest.json"
        manifest = (tmp_path / str(night) / "manifest.json").read_bytes()
        assert json.loads(latest.read_bytes()) == {
            "run_date": str(night),
            "folder": str(night),
            "manifest": {"path": f"{night}/manifest.json", "sha256": hashlib.sha256(manifest).hexdigest()},
        }
    assert not list(tmp_path.glob("*.partial")) and not list(tmp_path.glob(".*.partial"))


@pytest.mark.parametrize("night", [None, datetime.date(2026, 3, 9)])
def test_without_a_whole_current_night_there_is_no_latest(
    tmp_path: Path, night: datetime.date | None
) -> None:
    (tmp_path / "2026-03-09").mkdir()
    (tmp_path / "latest.json").write_text("{}")
    assert point_to_current(tmp_path, night) is None
    assert not (tmp_path / "latest.json").exists()
