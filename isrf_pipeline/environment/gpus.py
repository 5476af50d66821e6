"""GPUs that Spark gives to the tasks of one kind, and which of them this process was given."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from isrf_pipeline.errors import EnvironmentMismatchError

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


def gpu_profile(spark: SparkSession, gpus: int, setting: str) -> Any:
    """Resource profile of tasks that hold ``gpus`` GPUs each, or None for 0.

    Only tasks with the profile ask for GPUs; all others run without.

    Parameters
    ----------
    spark
        The session.
    gpus
        GPUs of one task.
    setting
        Name of the setting that asks for them.

    Raises
    ------
    EnvironmentMismatchError
        If GPUs are asked for and the executors declare none, or fewer than one task needs, or if there are no
        executors but the driver.
    """
    if gpus == 0:
        return None
    master = spark.sparkContext.master or ""
    # A local master takes the executors' declaration and then fails each job with a profile; local-cluster does not.
    if master == "local" or master.startswith("local["):
        raise EnvironmentMismatchError(
            f"{setting} {gpus}",
            f"Spark gives GPUs to tasks of a cluster only, and the master is {master}",
            "set it to 0, and vLLM takes the GPU of this machine",
        )
    declared = int(spark.conf.get("spark.executor.resource.gpu.amount", "0") or 0)
    if declared < gpus:
        raise EnvironmentMismatchError(
            f"{setting} {gpus}",
            f"the executors declare {declared or 'no'} GPUs (spark.executor.resource.gpu.amount)",
            f"declare them on the executors, or set {setting} to 0",
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
