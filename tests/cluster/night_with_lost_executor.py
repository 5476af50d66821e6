"""jobs/nightly.py on a cluster that loses an executor in the midst of its rounds; run by spark-submit.

night_with_lost_executor.py PIDS [OPTION...]: PIDS are the cluster's workers, with commas between them, OPTION those of
the job. The executor is a child of one of the workers.
"""

from __future__ import annotations

import os
import runpy
import signal
import sys
from pathlib import Path

import psutil

TESTS = Path(__file__).parents[1]
#: Workers whose executor is still to be killed.
workers = [int(pid) for pid in sys.argv.pop(1).split(",")]


def lose_an_executor() -> None:
    """Kill one executor, once, and with it what it keeps in memory and on its disk for others."""
    executors = [
        process
        for worker in workers
        for process in psutil.Process(worker).children(recursive=True)
        # Executors of earlier applications may lie about as zombies, which have no command line.
        if process.status() != psutil.STATUS_ZOMBIE
        and "CoarseGrainedExecutorBackend" in " ".join(process.cmdline())
    ]
    if executors:
        os.kill(executors[0].pid, signal.SIGKILL)
        print(f"killed 1 of {len(executors)} executors", flush=True)
        workers.clear()


if __name__ == "__main__":
    sys.path.insert(0, str(TESTS / "faults"))
    from stopping import Place, stopped_at

    with stopped_at(Place("optimize", "after write", "interests.progress"), lose_an_executor):
        runpy.run_path(str(TESTS.parent / "jobs" / "nightly.py"), run_name="__main__")
