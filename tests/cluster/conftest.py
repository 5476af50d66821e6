"""A real standalone cluster on loopback: one master, two workers, each its own JVM."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
_LOOPBACK = "127.0.0.1"
_START_SECONDS = 120.0
#: Three JVMs on two cores that live for minutes: too short for the optimizing compiler to earn what it costs. Without
#: it Java would keep 48 MiB of compiled code, less than a night needs, and compile the same methods again and again.
_SHORT_LIVED_JVM = "-XX:TieredStopAtLevel=1 -XX:ReservedCodeCacheSize=240m -XX:+UseSerialGC"


@dataclass
class LoopbackCluster:
    """A running cluster.

    Attributes
    ----------
    master
        Its address for ``--master``.
    folder
        Logs and work folders of its processes.
    """

    master: str
    folder: Path
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def submit(
        self, wheel: Path, job: str | Path, *arguments: str, folder: Path | None = None
    ) -> SubmitResult:
        """Run ``jobs/<job>.py``, or the script ``job``: driver outside the cluster, package shipped as ``wheel``.

        The driver runs in ``folder``, or else in an empty one, so that nothing is imported from the repository by
        accident.
        """
        jars = subprocess.run(
            [sys.executable, "-m", "isrf_pipeline", "doctor", "--jars"],
            capture_output=True,
            text=True,
            check=True,
            cwd=REPOSITORY,
        ).stdout.strip()
        options = {
            "spark.driver.host": _LOOPBACK,
            "spark.driver.bindAddress": _LOOPBACK,
            # A worker has 2 GiB in all: heap, and what Spark reserves beside it.
            "spark.executor.memory": "1500m",
            "spark.pyspark.python": sys.executable,
            "spark.ui.enabled": "false",
            "spark.executor.extraJavaOptions": _SHORT_LIVED_JVM,
            # Tables of a test fill one partition: nothing can be planned better on the way, and each shuffle that is
            # waited for is a job of its own.
            "spark.sql.adaptive.enabled": "false",
        }
        command = [
            str(_spark_home() / "bin" / "spark-submit"),
            "--master",
            self.master,
            "--driver-memory",
            "2g",
            "--driver-java-options",
            _SHORT_LIVED_JVM,
        ]
        command += ["--py-files", str(wheel), "--jars", jars]
        for key, value in options.items():
            command += ["--conf", f"{key}={value}"]
        script = job if isinstance(job, Path) else REPOSITORY / "jobs" / f"{job}.py"
        command += [str(script), *arguments]
        if folder is None:
            folder = self.folder / "driver"
            folder.mkdir(exist_ok=True)
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, cwd=folder, env=_environment()
        )
        return SubmitResult(done.returncode, done.stdout, done.stderr)


@dataclass(frozen=True)
class SubmitResult:
    """How a submitted job ended."""

    code: int
    out: str
    err: str

    def complaints(self) -> list[str]:
        """Error lines of ours; spark-submit sends the standard error of its Python to its standard output."""
        return [
            line
            for line in [*self.out.splitlines(), *self.err.splitlines()]
            if line.startswith("isrf: error: ")
        ]

    def last_words(self) -> str:
        """What a failed assertion shows: pytest would cut it in the middle if it were not one text."""
        return f"exit code {self.code}\n{self.out[-4000:]}\n{self.err[-4000:]}"


@pytest.fixture(scope="session")
def loopback_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LoopbackCluster]:
    """Start a master and two workers of one core and 2 GiB each; stop them by process id afterwards."""
    folder = tmp_path_factory.mktemp("cluster")
    port, web = _free_port(), _free_port()
    cluster = LoopbackCluster(f"spark://{_LOOPBACK}:{port}", folder)
    try:
        cluster.processes.append(
            _start(
                folder / "master",
                "org.apache.spark.deploy.master.Master",
                *("--host", _LOOPBACK, "--port", str(port), "--webui-port", str(web)),
            )
        )
        _wait_for_port(port, cluster, "the master")
        for number in (1, 2):
            work = folder / f"worker{number}"
            cluster.processes.append(
                _start(
                    work,
                    "org.apache.spark.deploy.worker.Worker",
                    *(
                        "--host",
                        _LOOPBACK,
                        "--cores",
                        "1",
                        "--memory",
                        "2g",
                        "--webui-port",
                        str(_free_port()),
                    ),
                    *("--work-dir", str(work), cluster.master),
                )
            )
        _wait_for_workers(web, cluster)
        yield cluster
    finally:
        for process in reversed(cluster.processes):
            process.terminate()
        for process in cluster.processes:
            try:
                process.wait(timeout=20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the package as it is shipped to a cluster."""
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "setup.py", "--quiet", "build", "--build-base", str(folder / "build")]
    command += ["egg_info", "--egg-base", str(folder), "bdist_wheel", "--dist-dir", str(folder / "dist")]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (built,) = (folder / "dist").glob("*.whl")
    return built


def _spark_home() -> Path:
    import pyspark

    return Path(pyspark.__file__).parent


def _environment() -> dict[str, str]:
    """Environment of a machine that has Spark and the packages, and of the repository knows nothing."""
    kept = {
        key: value
        for key, value in os.environ.items()
        if key != "PYTHONPATH" and not key.startswith("PYSPARK_")
    }
    return {
        **kept,
        "SPARK_HOME": str(_spark_home()),
        "SPARK_LOCAL_IP": _LOOPBACK,
        "PYSPARK_PYTHON": sys.executable,
        "PYSPARK_DRIVER_PYTHON": sys.executable,
    }


def _start(folder: Path, main_class: str, *arguments: str) -> subprocess.Popen[bytes]:
    folder.mkdir()
    # Daemons take 1 GiB of heap by default and need a small part of it.
    environment = {**_environment(), "SPARK_DAEMON_MEMORY": "256m"}
    with (folder / "log.txt").open("wb") as log:
        return subprocess.Popen(
            [str(_spark_home() / "bin" / "spark-class"), main_class, *arguments],
            stdout=log,
            stderr=subprocess.STDOUT,
            env=environment,
            cwd=folder,
        )


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((_LOOPBACK, 0))
        port: int = probe.getsockname()[1]
    return port


def _wait_for_port(port: int, cluster: LoopbackCluster, what: str) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline:
        with socket.socket() as probe:
            probe.settimeout(1)
            if probe.connect_ex((_LOOPBACK, port)) == 0:
                return
        _require_alive(cluster)
        time.sleep(0.2)
    raise TimeoutError(f"{what} did not listen within {_START_SECONDS} s, see {cluster.folder}")


def _wait_for_workers(web: int, cluster: LoopbackCluster) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline:
        _require_alive(cluster)
        try:
            with urllib.request.urlopen(f"http://{_LOOPBACK}:{web}/json/", timeout=5) as answer:
                if b'"aliveworkers" : 2' in answer.read():
                    return
        except OSError:
            pass
        time.sleep(0.3)
    raise TimeoutError(f"two workers did not register within {_START_SECONDS} s, see {cluster.folder}")


def _require_alive(cluster: LoopbackCluster) -> None:
    for process in cluster.processes:
        if process.poll() is not None:
            raise RuntimeError(
                f"process {process.pid} of the cluster ended with {process.returncode}, see {cluster.folder}"
            )
