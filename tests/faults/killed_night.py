"""Runs ``isrf nightly`` and kills it, with all processes that it started, at one place: see :mod:`stopping`.

killed_night.py SETTINGS NIGHT [STAGE/AT/TABLE]
"""

from __future__ import annotations

import datetime
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

sys.path.insert(0, str(Path(__file__).parents[2]))

from small_night import nightly
from stopping import Place, stopped_at

if TYPE_CHECKING:
    from pyspark.sql import DataFrame


def kill_all() -> None:
    """Kill this process, the JVM and Python's workers at once, as a machine that loses power does."""
    os.killpg(0, signal.SIGKILL)
    signal.pause()


def killed_while_written(rows: DataFrame) -> DataFrame:
    """Rows whose second half never comes: a worker kills everything when it has handed on the first."""
    # Workers are a group of their own.
    group = os.getpgid(0)

    def half(batches: Iterator[Any]) -> Iterator[Any]:
        for batch in batches:
            yield batch.slice(0, (batch.num_rows + 1) // 2)
        os.killpg(group, signal.SIGKILL)
        signal.pause()

    return rows.coalesce(1).mapInArrow(half, rows.schema)


if __name__ == "__main__":
    # A group of its own: whoever started this lives on.
    os.setpgid(0, 0)
    place = Place.parse(sys.argv[3]) if len(sys.argv) > 3 else None
    with stopped_at(place, kill_all, killed_while_written):
        sys.exit(nightly(Path(sys.argv[1]), datetime.date.fromisoformat(sys.argv[2])))
