"""What would stop a late stage stops the run at its start, before Java or the lake are looked for."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest
import yaml

from isrf_pipeline.cli.main import main

BRIEF = {"id": "spring", "theme": "linen for the coast", "size": 10}


def written(file: Path, content: dict[str, Any]) -> str:
    file.write_text(yaml.safe_dump(content), encoding="utf-8")
    return str(file)


def told_by(capsys: pytest.CaptureFixture[str], *command: str) -> tuple[int, str]:
    code = main(list(command))
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("isrf: ")]
    return code, line


def test_a_mistake_in_a_brief_stops_the_night_at_its_start(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    brief = written(tmp_path / "spring.yaml", {**BRIEF, "sise": 10})
    lake = tmp_path / "lake"
    conf = written(tmp_path / "c.yaml", {"lake": {"root": str(lake)}, "campaigns": {"briefs": [brief]}})
    code, line = told_by(capsys, "nightly", "--conf-file", conf)
    assert code == 2
    assert f"{brief} key sise" in line
    assert not lake.exists()


def test_exports_that_can_go_nowhere_stop_the_night_at_its_start(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    conf = written(tmp_path / "c.yaml", {"lake": {"root": "s3a://lake/gold"}})
    code, line = told_by(capsys, "nightly", "--conf-file", conf)
    assert code == 2
    assert "export.directory s3a://lake/gold/exports" in line
    assert "set export.directory to a local folder" in line


def test_a_peer_without_its_package_stops_the_night_at_its_start(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *rest: None if name == "implicit" else found(name, *rest)
    )
    lake = {"root": str(tmp_path / "lake")}
    conf = written(tmp_path / "c.yaml", {"lake": lake, "evaluation": {"peers": ["popularity", "bm25"]}})
    code, line = told_by(capsys, "nightly", "--conf-file", conf)
    assert code == 2
    assert "peer bm25: needs the package implicit, which is not installed" in line


@pytest.mark.parametrize(
    ("stages", "refused"), [({"ingest", "optimize"}, False), ({"recommend"}, True), ({"export"}, False)]
)
def test_only_what_the_stages_need_is_looked_at(tmp_path: Path, stages: set[str], refused: bool) -> None:
    import datetime

    from isrf_pipeline.config import Settings
    from isrf_pipeline.errors import ConfigurationError
    from isrf_pipeline.run.preflight import require_feasible

    settings = Settings.model_validate(
        {"lake": {"root": str(tmp_path)}, "campaigns": {"briefs": [str(tmp_path / "absent.yaml")]}}
    )
    night = datetime.date(2026, 6, 30)
    if refused:
        with pytest.raises(ConfigurationError, match=r"absent\.yaml"):
            require_feasible(settings, night, stages)
    else:
        require_feasible(settings, night, stages)
