"""Turns whatever a stage raised into one line."""

from __future__ import annotations

import re

from isrf_pipeline import errors
from isrf_pipeline.config.redaction import redacted
from isrf_pipeline.errors import IsrfError

_FROM_WORKER = re.compile(r"isrf_pipeline\.errors\.(\w+): (.+?): (.+); (.+?)\.?\s*$", re.MULTILINE)


def known_error(error: BaseException) -> IsrfError | None:
    """Return the error of ours behind ``error``: itself, or what a Python worker raised and Spark wrapped."""
    if isinstance(error, IsrfError):
        return error
    found = _FROM_WORKER.search(str(error))
    if found is None:
        return None
    kind = getattr(errors, found.group(1), IsrfError)
    if not (isinstance(kind, type) and issubclass(kind, IsrfError)):
        kind = IsrfError
    return kind(found.group(2), found.group(3), found.group(4))


def one_line(error: BaseException, limit: int = 300) -> str:
    """Describe ``error`` in one line without secrets, of at most ``limit`` characters where it is none of ours."""
    known = known_error(error)
    if known is not None:
        return redacted(str(known))
    text = redacted(" ".join(str(error).strip().split("\n", 1)[0].split()))
    line = f"{type(error).__name__}: {text}" if text else type(error).__name__
    return line if len(line) <= limit else line[: limit - 1] + "…"
