"""spark-submit against a real cluster: the package comes from its wheel alone, on the driver and on the workers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from conftest import LoopbackCluster

PROBE = """
import json
import sys

from isrf_pipeline import __file__ as ours
from isrf_pipeline.config import load_settings
from isrf_pipeline.session import build_session

spark = build_session(load_settings(sys.argv[1]).settings)


def where(batches):
    import os
    import pyarrow
    import isrf_pipeline
    import isrf_pipeline.errors

    for batch in batches:
        row = {"file": isrf_pipeline.__file__, "pid": os.getpid(), "home": os.getcwd()}
        yield pyarrow.RecordBatch.from_pylist([{"told": __import__("json").dumps(row)}])


rows = spark.range(2, numPartitions=2).mapInArrow(where, "told string").collect()
spark.range(3).write.format("delta").save(sys.argv[2])
told = {
    "driver": ours,
    "workers": [json.loads(row[0]) for row in rows],
    "master": spark.sparkContext.master,
    "rows": spark.read.format("delta").load(sys.argv[2]).count(),
}
print("TOLD=" + json.dumps(told))
"""


def test_the_wheel_reaches_driver_and_workers(
    loopback_cluster: LoopbackCluster, wheel: Path, tmp_path: Path
) -> None:
    import json

    probe = tmp_path / "probe.py"
    probe.write_text(PROBE, encoding="utf-8")
    conf = tmp_path / "cluster.yaml"
    conf.write_text(f"lake:\n  root: {tmp_path / 'lake'}\nspark:\n  master: local[1]\n", encoding="utf-8")
    done = loopback_cluster.submit(wheel, probe, str(conf), str(tmp_path / "table"))
    assert done.code == 0, done.last_words()
    (line,) = [line for line in done.out.splitlines() if line.startswith("TOLD=")]
    told = json.loads(line.removeprefix("TOLD="))
    assert told["driver"].startswith(str(wheel))
    assert all(".zip/isrf_pipeline" in worker["file"] for worker in told["workers"])
    # spark-submit's master holds, whatever the settings say.
    assert told["master"] == loopback_cluster.master
    assert told["rows"] == 3


def test_wrong_usage_ends_spark_submit_with_our_code_and_line(
    loopback_cluster: LoopbackCluster, wheel: Path, tmp_path: Path
) -> None:
    done = loopback_cluster.submit(wheel, "nightly", "--conf-file", str(tmp_path / "no.yaml"))
    assert done.code == 2
    (line,) = done.complaints()
    assert "no.yaml: the configuration file does not exist" in line
