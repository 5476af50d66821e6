"""Files of one piece of work below the session's checkpoints, which all workers reach; removed when it is done."""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession


@contextlib.contextmanager
def scratch_folder(spark: SparkSession, purpose: str) -> Iterator[str]:
    """Name of a folder of its own for the body, deleted with all that lies in it."""
    folder = f"{spark.sparkContext.getCheckpointDir()}/{purpose}-{uuid.uuid4().hex}"
    try:
        yield folder
    finally:
        jvm: Any = spark.sparkContext._jvm
        path = jvm.org.apache.hadoop.fs.Path(folder)
        with contextlib.suppress(Exception):
            path.getFileSystem(spark.sparkContext._jsc.hadoopConfiguration()).delete(path, True)


def stored(frame: DataFrame, folder: str) -> DataFrame:
    """Write ``frame`` and read it back.

    A local checkpoint keeps its plan's estimate of its size, which loops of joins multiply until the planner counts
    in numbers of a million digits, and dies with its executor. What is read from a file has the size of the file.
    """
    frame.write.parquet(folder)
    return frame.sparkSession.read.schema(frame.schema).parquet(folder)
