"""Peak resident memory of this process and everything it started: the JVM and the Python workers."""

from __future__ import annotations

import threading

import psutil


class PeakMemory:
    """Samples the resident memory of the process tree until stopped.

    Used as a context manager; ``peak_mb`` is the largest sum seen so far in MiB. Pages that processes share count
    once for each of them, so the figure is an upper bound.
    """

    def __init__(self, every_seconds: float = 0.5) -> None:
        self.peak_mb = 0.0
        self._every = every_seconds
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)

    def __enter__(self) -> PeakMemory:
        """Start sampling."""
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop sampling."""
        self._stop.set()
        self._thread.join()

    def _sample(self) -> None:
        process = psutil.Process()
        while True:
            total = 0
            for member in [process, *process.children(recursive=True)]:
                try:
                    total += member.memory_info().rss
                except psutil.NoSuchProcess:
                    continue
            self.peak_mb = max(self.peak_mb, total / 2**20)
            if self._stop.wait(self._every):
                return
