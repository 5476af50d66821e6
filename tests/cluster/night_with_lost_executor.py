"""A night on a cluster that loses an executor in the midst of its rounds; run by spark-submit.

night_with_lost_executor.py FAULTS SETTINGS NIGHT [PID...]: FAULTS is the folder of tests/faults, and the executor is a
child of one of the processes PID, the cluster's workers.
"""

from __future__ import annotations

import datetime
import os
import signal
import sys
from pathlib import Path

sys.path.insert(0, sys.argv[1])

import psutil
from small_night import nightly
from stopping import Place, stopped_at


def lose_an_executor() -> None:
    """Kill one executor, which takes with it what it keeps in memory and on its disk for others."""
    executors = [
        process
        for worker in map(int, sys.argv[4:])
        for process in psutil.Process(worker).children(recursive=True)
        # Executors of earlier applications may lie about as zombies, which have no command line.
        if process.status() != psutil.STATUS_ZOMBIE
        and "CoarseGrainedExecutorBackend" in " ".join(process.cmdline())
    ]
    os.kill(executors[0].pid, signal.SIGKILL)
    print(f"killed 1 of {len(executors)} executors", flush=True)


if __name__ == "__main__":
    place = Place("optimize", "after write", "interests.progress") if len(sys.argv) > 4 else None
    with stopped_at(place, lose_an_executor):
        sys.exit(nightly(Path(sys.argv[2]), datetime.date.fromisoformat(sys.argv[3])))
