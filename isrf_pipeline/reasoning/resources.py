"""Which resources the workers of a reasoning stage hold, and which of them this process was given."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from isrf_pipeline.config.settings import ReasoningSettings
from isrf_pipeline.errors import EnvironmentMismatchError

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


def worker_profile(spark: SparkSession, settings: ReasoningSettings) -> Any:
    """Resource profile of tasks that hold an engine, or None where no GPUs are asked for.

    Only these tasks ask for GPUs; all other stages run without.

    Raises
    ------
    EnvironmentMismatchError
        If GPUs are asked for and the executors declare none, or fewer than one engine needs, or if there are no
        executors but the driver.
    """
    gpus = settings.engine.gpus
    if settings.backend != "engine" or gpus == 0:
        return None
    master = spark.sparkContext.master or ""
    # A local master takes the executors' declaration and then fails each job with a profile; local-cluster does not.
    if master == "local" or master.startswith("local["):
        raise EnvironmentMismatchError(
            f"reasoning.engine.gpus {gpus}",
            f"Spark gives GPUs to tasks of a cluster only, and the master is {master}",
            "set it to 0, and vLLM takes the GPU of this machine",
        )
    declared = int(spark.conf.get("spark.executor.resource.gpu.amount", "0") or 0)
    if declared < gpus:
        raise EnvironmentMismatchError(
            f"reasoning.engine.gpus {gpus}",
            f"the executors declare {declared or 'no'} GPUs (spark.executor.resource.gpu.amount)",
            "declare them on the executors, or set reasoning.engine.gpus to 0",
        )
    from pyspark.resource import ResourceProfileBuilder, TaskResourceRequests

    return ResourceProfileBuilder().require(TaskResourceRequests().cpus(1).resource("gpu", gpus)).build


def gpu_addresses() -> list[str]:
    """Addresses of the GPUs that Spark gave the task of this process; empty outside a task or without GPUs."""
    from pyspark import TaskContext

    task = TaskContext.get()
    if task is None:
        return []
    given = task.resources().get("gpu")
    return list(given.addresses) if given is not None else []
