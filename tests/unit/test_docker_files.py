"""The images cannot be built here, so what they refer to is checked instead."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
DOCKERFILES = sorted((ROOT / "docker").glob("Dockerfile.*"))


def instructions(path: Path) -> list[tuple[str, str]]:
    """The instructions of a Dockerfile with continued lines joined."""
    text = re.sub(r"^\s*#.*\n", "", path.read_text(encoding="utf-8"), flags=re.MULTILINE)
    lines = [line.strip() for line in text.replace("\\\n", " ").splitlines() if line.strip()]
    return [(line.split(maxsplit=1)[0], line.split(maxsplit=1)[1]) for line in lines]


def compose() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((ROOT / "docker" / "compose.yaml").read_text(encoding="utf-8"))
    return loaded


def ignored() -> list[str]:
    lines = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def test_both_images_are_there() -> None:
    assert [path.name for path in DOCKERFILES] == ["Dockerfile.spark", "Dockerfile.vllm"]


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.name)
def test_everything_that_is_copied_exists_and_is_sent(path: Path) -> None:
    copied = [source for verb, rest in instructions(path) if verb == "COPY" for source in rest.split()[:-1]]
    assert copied
    for source in copied:
        assert (ROOT / source).exists(), source
        assert source.split("/")[0] not in ignored(), source


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.name)
def test_the_set_up_is_the_one_that_make_runs(path: Path) -> None:
    runs = [rest for verb, rest in instructions(path) if verb == "RUN"]
    assert any("scripts/setup.sh" in run for run in runs)
    assert "scripts/setup.sh" in (ROOT / "Makefile").read_text(encoding="utf-8")
    # Nothing may come into an image past the pinned lists.
    assert not any("pip install" in run for run in runs)


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.name)
def test_the_list_is_chosen_for_the_image(path: Path) -> None:
    environment = " ".join(rest for verb, rest in instructions(path) if verb == "ENV")
    assert f"ISRF_MACHINE={'gpu' if path.name.endswith('vllm') else 'cpu'}" in environment


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.name)
def test_the_set_up_steps_find_their_sources_before_the_rest_is_copied(path: Path) -> None:
    """The layer that installs holds only what the set-up reads, so it must hold all of that."""
    steps = instructions(path)
    position = next(i for i, (verb, rest) in enumerate(steps) if verb == "RUN" and "scripts/setup.sh" in rest)
    before = {source for verb, rest in steps[:position] if verb == "COPY" for source in rest.split()[:-1]}
    imported = set()
    for module in (ROOT / "isrf_pipeline" / "environment").glob("*.py"):
        runtime = re.sub(r"if TYPE_CHECKING:\n(    .*\n)+", "", module.read_text(encoding="utf-8"))
        imported |= set(re.findall(r"from isrf_pipeline\.(\w+)", runtime))
    assert {f"isrf_pipeline/{name}{'' if name == 'environment' else '.py'}" for name in imported} <= before
    assert {"requirements", "scripts", "pyproject.toml", "setup.py", "isrf_pipeline/__init__.py"} <= before


def test_services_are_built_from_existing_dockerfiles() -> None:
    services = compose()["services"]
    assert {"master", "worker-1", "worker-2", "driver", "vllm", "gpu-worker"} == set(services)
    for name, service in services.items():
        context = (ROOT / "docker" / service["build"]["context"]).resolve()
        assert context == ROOT
        assert (context / service["build"]["dockerfile"]).is_file(), name


def test_the_driver_runs_a_job_that_exists() -> None:
    command = compose()["services"]["driver"]["command"]
    assert (ROOT / next(part for part in command if part.endswith(".py"))).is_file()
    assert (ROOT / command[command.index("--conf-file") + 1]).is_file()


@pytest.mark.parametrize("script", sorted((ROOT / "docker").glob("*.sh")), ids=lambda path: path.name)
def test_entry_points_are_valid_and_know_the_services_roles(script: Path) -> None:
    assert script.stat().st_mode & 0o111
    assert subprocess.run(["bash", "-n", str(script)], check=False).returncode == 0
    if script.name == "cluster.sh":
        text = script.read_text(encoding="utf-8")
        for service in compose()["services"].values():
            assert f"  {service['command'][0]})" in text


def test_an_unknown_role_is_one_line() -> None:
    command = ["bash", str(ROOT / "docker" / "cluster.sh"), "mastre"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1


def test_a_submitted_job_gets_the_jars(tmp_path: Path) -> None:
    for name, prints in (("isrf", "echo a.jar,b.jar"), ("spark-submit", 'echo "$@"')):
        (tmp_path / name).write_text(f"#!/bin/bash\n{prints}\n", encoding="utf-8")
        (tmp_path / name).chmod(0o755)
    script = [str(ROOT / "docker" / "cluster.sh"), "driver", "spark-submit"]

    def submitted(*options: str) -> str:
        environment = {"PATH": f"{tmp_path}:/usr/bin:/bin"}
        return subprocess.run(
            ["bash", *script, *options], env=environment, capture_output=True, text=True, check=True
        ).stdout.strip()

    assert (
        submitted("jobs/nightly.py", "--run-date", "D") == "--jars a.jar,b.jar jobs/nightly.py --run-date D"
    )
    assert submitted("--jars", "c.jar", "jobs/nightly.py") == "--jars c.jar jobs/nightly.py"
