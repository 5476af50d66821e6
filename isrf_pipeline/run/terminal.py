"""Lines and tables for people at a terminal."""

from __future__ import annotations

import sys
import unicodedata
from collections.abc import Sequence

from isrf_pipeline.config.redaction import redacted

#: Control characters, format characters (direction marks, zero-width ones), line and paragraph separators, surrogates.
_UNSEEN = {"Cc", "Cf", "Zl", "Zp", "Cs"}


def say(line: str = "") -> None:
    """Print one line to standard output at once."""
    print(visible(redacted(line)), flush=True)


def complain(line: str) -> None:
    """Print one line to standard error, in front of it the name of the program."""
    sys.stdout.flush()
    print(f"isrf: error: {visible(redacted(' '.join(line.split())))}", file=sys.stderr, flush=True)


def visible(text: str) -> str:
    r"""Text with unseen characters as escapes, such as ``\u200b``.

    Identifiers and titles come from outside: what is printed of them must not steer the terminal or turn the line
    around, and two identifiers that differ must look different.
    """
    if text.isprintable():
        return text
    return "".join(
        sign.encode("unicode_escape").decode("ascii") if unicodedata.category(sign) in _UNSEEN else sign
        for sign in text
    )


def allow_any_text() -> None:
    """Let a terminal that lacks a character show a question mark instead of stopping the run."""
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="replace")


def text_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Lay out ``rows`` below ``header`` in columns that are as wide as they must be."""
    everything = [[visible(cell) for cell in row] for row in (header, *rows)]
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
