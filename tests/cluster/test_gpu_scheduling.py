"""GPUs of a real cluster: tasks that hold an engine are given one each, all other tasks none."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from isrf_pipeline.config.settings import ReasoningSettings
from isrf_pipeline.environment.gpus import gpu_profile
from isrf_pipeline.errors import EnvironmentMismatchError

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

pytestmark = pytest.mark.cluster

#: A driver of its own: a resource profile belongs to its process's context, and that of the tests has no GPUs.
DRIVER = """
import json
import sys

from isrf_pipeline.environment.gpus import gpu_profile
from isrf_pipeline.errors import EnvironmentMismatchError
from pyspark.sql import SparkSession

builder = SparkSession.builder.master(sys.argv[1])
for key, value in json.loads(sys.argv[2]).items():
    builder = builder.config(key, value)
spark = builder.getOrCreate()


def held(batches):
    import json
    import pyarrow
    from isrf_pipeline.environment.gpus import gpu_addresses

    for batch in batches:
        yield pyarrow.RecordBatch.from_pylist([{"told": json.dumps(gpu_addresses())}])


def addresses(profile):
    rows = spark.range(2, numPartitions=2).mapInArrow(held, "told string", profile=profile).collect()
    return [json.loads(row["told"]) for row in rows]


def refusal(session, gpus):
    try:
        gpu_profile(session, gpus, "gpus")
    except EnvironmentMismatchError as error:
        return str(error)


undeclared = spark.newSession()
undeclared.conf.unset("spark.executor.resource.gpu.amount")
told = {
    "none declared": refusal(undeclared, 1),
    "too few declared": refusal(spark, 2),
    "profile": addresses(gpu_profile(spark, 1, "gpus")),
    "no profile": addresses(None),
}
print("TOLD=" + json.dumps(told))
"""

#: JVMs that live for seconds are better off without the optimizing compiler.
QUICK_JVM = "-XX:TieredStopAtLevel=1 -XX:ReservedCodeCacheSize=240m -XX:+UseSerialGC"


@dataclass(frozen=True)
class GpuCluster:
    """A running cluster: its address for the driver, and the environment of its processes."""

    master: str
    environment: dict[str, str]


@pytest.fixture
def gpu_cluster(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[GpuCluster]:
    """A master and two workers of one core that each say they have one GPU, the first "0" and the second "1"."""
    monkeypatch.setenv("SPARK_DAEMON_JAVA_OPTS", QUICK_JVM)
    # The conftest of this folder as pytest loaded it: an import statement may find another folder's.
    parts: Any = request.config.pluginmanager.get_plugin(str(Path(__file__).with_name("conftest.py")))
    port, web, host = parts._free_port(), parts._free_port(), parts._LOOPBACK
    cluster = parts.LoopbackCluster(f"spark://{host}:{port}", tmp_path)

    def start(name: str, daemon: str, *arguments: str) -> None:
        main_class = f"org.apache.spark.deploy.{daemon}"
        cluster.processes.append(parts._start(tmp_path / name, main_class, "--host", host, *arguments))

    try:
        start("master", "master.Master", "--port", str(port), "--webui-port", str(web))
        parts._wait_for_port(port, cluster, "the master")
        for address in ("0", "1"):
            name, properties = f"worker{address}", declared_gpu(tmp_path, address)
            size = ("--cores", "1", "--memory", "1g", "--webui-port", "0")
            # By default an application's files lie in Spark's own folder, here the environment's packages.
            own = ("--work-dir", str(tmp_path / name), "--properties-file", properties)
            start(name, "worker.Worker", *size, *own, cluster.master)
        parts._wait_for_workers(web, cluster)
        yield GpuCluster(cluster.master, parts._environment())
    finally:
        stop(cluster.processes)


def declared_gpu(folder: Path, address: str) -> str:
    """Properties of a worker whose discovery script finds one GPU at ``address``."""
    script = folder / f"discover{address}.sh"
    found = json.dumps({"name": "gpu", "addresses": [address]})
    script.write_text(f"#!/bin/sh\necho '{found}'\n", encoding="utf-8")
    script.chmod(0o755)
    properties = folder / f"worker{address}.conf"
    properties.write_text(
        f"spark.worker.resource.gpu.amount 1\nspark.worker.resource.gpu.discoveryScript {script}\n",
        encoding="utf-8",
    )
    return str(properties)


def stop(processes: list[subprocess.Popen[bytes]]) -> None:
    for process in reversed(processes):
        process.terminate()
    for process in processes:
        try:
            process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def test_each_engine_task_holds_a_gpu_of_its_own_and_other_tasks_hold_none(
    gpu_cluster: GpuCluster, tmp_path: Path
) -> None:
    options = {
        "spark.executor.resource.gpu.amount": "1",
        # Both executors must be there, or the one that comes first may take both tasks in turn.
        "spark.cores.max": "2",
        "spark.scheduler.minRegisteredResourcesRatio": "1.0",
        "spark.scheduler.maxRegisteredResourcesWaitingTime": "120s",
        "spark.driver.host": "127.0.0.1",
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.driver.extraJavaOptions": QUICK_JVM,
        "spark.executor.extraJavaOptions": QUICK_JVM,
        "spark.executor.memory": "600m",
        "spark.ui.enabled": "false",
    }
    driver = tmp_path / "driver.py"
    driver.write_text(DRIVER, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, str(driver), gpu_cluster.master, json.dumps(options)],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
        env=gpu_cluster.environment,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("TOLD=")]
    told = json.loads(line.removeprefix("TOLD="))
    assert sorted(told["profile"]) == [["0"], ["1"]]
    assert told["no profile"] == [[], []]
    assert "executors declare no GPUs (spark.executor.resource.gpu.amount)" in told["none declared"]
    assert "executors declare 1 GPUs (spark.executor.resource.gpu.amount)" in told["too few declared"]


def test_gpus_are_refused_where_no_cluster_gives_them(spark: SparkSession) -> None:
    with pytest.raises(
        EnvironmentMismatchError, match=r"reasoning\.engine\.gpus 1: .* local\[2\]; set it to 0"
    ):
        gpu_profile(spark, 1, "reasoning.engine.gpus")


@pytest.mark.parametrize("reasoning", [{"engine": {"gpus": 0}}, {"backend": "server", "engine": {"gpus": 1}}])
def test_no_gpu_is_asked_for_where_no_engine_of_ours_needs_one(
    spark: SparkSession, reasoning: dict[str, Any]
) -> None:
    gpus = ReasoningSettings.model_validate(reasoning).worker_gpus()
    assert gpu_profile(spark, gpus, "reasoning.engine.gpus") is None
