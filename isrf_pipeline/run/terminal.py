"""Lines and tables for people at a terminal."""

from __future__ import annotations

import sys
from collections.abc import Sequence


def say(line: str = "") -> None:
    """Print one line to standard output at once."""
    print(line, flush=True)


def complain(line: str) -> None:
    """Print one line to standard error, in front of it the name of the program."""
    sys.stdout.flush()
    print(f"isrf: error: {' '.join(line.split())}", file=sys.stderr, flush=True)


def allow_any_text() -> None:
    """Let a terminal that lacks a character show a question mark instead of stopping the run."""
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="replace")


def text_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Lay out ``rows`` below ``header`` in columns that are as wide as they must be."""
    everything = [header, *rows]
    widths = [max(len(row[column]) for row in everything) for column in range(len(header))]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in everything
    ]


def duration(seconds: float) -> str:
    """Seconds as people say them: ``12.3 s``, ``4 min 05 s``, ``1 h 02 min``."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min"
