"""``isrf erase`` before it touches anything: whom it is asked to erase, and where."""

from __future__ import annotations

from pathlib import Path

import pytest

from isrf_pipeline.cli.erase import identifiers_of
from isrf_pipeline.cli.main import main
from isrf_pipeline.errors import UsageError


@pytest.fixture
def conf_file(tmp_path: Path) -> Path:
    file = tmp_path / "conf.yaml"
    file.write_text(f"lake:\n  root: {tmp_path / 'lake'}\n", encoding="utf-8")
    return file


def test_identifiers_come_from_options_and_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "users.txt"
    file.write_text("\ufeffann\r\n\r\n b ob \n'; --\n", encoding="utf-8")
    assert identifiers_of(["12", "ann"], str(file)) == ("12", "ann", "b ob", "'; --")


def test_a_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "users.txt"
    file.write_bytes(b"\xff\xfe\x00")
    for path in (file, tmp_path / "nowhere.txt"):
        with pytest.raises(UsageError, match="cannot be read"):
            identifiers_of([], str(path))


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ([], "isrf erase: names no client; give --user U or --users-file F."),
        (["--user", "  "], "isrf erase: names no client; give --user U or --users-file F."),
        (
            ["--user", "a", "--lift", "--dry-run"],
            "--lift --dry-run: do not go together; leave one of them out.",
        ),
        (["--user", "a"], "/lake: is not there; check lake.root in the configuration."),
    ],
)
def test_wrong_usage_ends_before_anything_is_touched(
    conf_file: Path, options: list[str], line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["erase", *options, "--conf-file", str(conf_file)]) == 2
    assert capsys.readouterr().err.strip().endswith(line)
    assert not (conf_file.parent / "lake").exists()
