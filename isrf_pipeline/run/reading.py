"""Opens a lake for commands that only read it: no hold, and the log outside the lake."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

from isrf_pipeline.config import EffectiveSettings
from isrf_pipeline.lake import Lake
from isrf_pipeline.run.execution import logged_to
from isrf_pipeline.run.launch import open_session, temporary_log_folder


@contextlib.contextmanager
def open_lake(effective: EffectiveSettings) -> Iterator[Lake]:
    """Open the lake of ``effective`` with a session of its own."""
    log_file = temporary_log_folder() / f"isrf-{os.getpid()}.log"
    with logged_to(log_file), open_session(effective.settings, log_file) as spark:
        yield Lake(spark, effective.settings.lake)
