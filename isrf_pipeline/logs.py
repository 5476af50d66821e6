"""Structured log lines for machines, and progress for people at a terminal."""

from __future__ import annotations

import contextlib
import json
import logging
import sys
import time
from pathlib import Path
from typing import Any

from isrf_pipeline.config.redaction import redacted

_LOGGER = logging.getLogger("isrf")
_WARNINGS = logging.getLogger("py.warnings")


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time, level, event and its fields, without secrets."""

    def format(self, record: logging.LogRecord) -> str:
        """Format ``record``; fields come from the record's ``fields`` attribute."""
        row: dict[str, Any] = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(record.created)),
            "level": record.levelname.lower(),
            "event": record.getMessage(),
            **getattr(record, "fields", {}),
        }
        if record.exc_info:
            row["trace"] = self.formatException(record.exc_info)
        return redacted(json.dumps(row, ensure_ascii=False, default=str))


class _ConsoleHandler(logging.StreamHandler[Any]):
    """Writes to whatever standard error is at the time: a run points it past the redirected descriptor."""

    def __init__(self) -> None:
        logging.Handler.__init__(self)

    @property
    def stream(self) -> Any:
        return sys.stderr


class _FileHandler(logging.FileHandler):
    """Writes what it can: a log on a full disk must neither stop a run nor bury what it says below traces."""

    def handleError(self, record: logging.LogRecord) -> None:
        """Say nothing."""

    def close(self) -> None:
        """Close the file, whatever of it could not be written."""
        with contextlib.suppress(OSError):
            super().close()


def configure_logging(log_file: Path | None = None) -> None:
    """Send structured lines to standard error where it is no terminal, and to ``log_file`` in any case.

    Warnings of libraries go to ``log_file`` alone: they mean nothing to a user at the console.
    """
    for logger in (_LOGGER, _WARNINGS):
        for old in list(logger.handlers):
            logger.removeHandler(old)
            old.close()
    _LOGGER.setLevel(logging.INFO)
    _LOGGER.propagate = False
    if not sys.stderr.isatty():
        stream = _ConsoleHandler()
        # Traces belong to the log file: a user at the console gets one line.
        stream.addFilter(lambda record: record.levelno < logging.ERROR)
        stream.setFormatter(JsonFormatter())
        _LOGGER.addHandler(stream)
    if log_file is not None:
        handler = _FileHandler(log_file, encoding="utf-8")
        handler.setFormatter(JsonFormatter())
        _LOGGER.addHandler(handler)
        _WARNINGS.addHandler(handler)
        _WARNINGS.propagate = False
    logging.captureWarnings(log_file is not None)
    if not _LOGGER.handlers:
        _LOGGER.addHandler(logging.NullHandler())


def log_event(event: str, **fields: Any) -> None:
    """Write one structured line."""
    _LOGGER.info(event, extra={"fields": fields})


def log_failure(event: str, **fields: Any) -> None:
    """Write the current exception with its trace to the log file."""
    _LOGGER.error(event, exc_info=True, extra={"fields": fields})


class Progress:
    """Rows done, rate and time left of one long piece of work.

    Parameters
    ----------
    name
        What is being done.
    total
        Rows to do.
    every_seconds
        Shortest time between two lines where standard error is no terminal.
    """

    def __init__(self, name: str, total: int, every_seconds: float = 10.0) -> None:
        self.name = name
        self.total = total
        self.done = 0
        self._every = every_seconds
        self._started = time.monotonic()
        self._last = 0.0

    def advance(self, rows: int, **fields: Any) -> None:
        """Count ``rows`` more as done and show it."""
        self.done += rows
        now = time.monotonic()
        elapsed = max(now - self._started, 1e-9)
        rate = self.done / elapsed
        left = (self.total - self.done) / rate if rate > 0 else float("inf")
        finished = self.done >= self.total
        if sys.stderr.isatty():
            extra = "".join(f", {key} {value}" for key, value in fields.items())
            end = "\n" if finished else ""
            line = f"\r  {self.name}: {self.done:,} of {self.total:,}, {rate:,.1f}/s, {_duration(left)} left{extra}"
            print(f"{line:<100}", end=end, file=sys.stderr, flush=True)
        elif finished or now - self._last >= self._every:
            self._last = now
            log_event(
                "progress",
                what=self.name,
                rows=self.done,
                total=self.total,
                rate=round(rate, 2),
                left_s=round(left, 1),
                **fields,
            )


def _duration(seconds: float) -> str:
    if seconds == float("inf"):
        return "unknown time"
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"
