"""Turns whatever a stage raised into one line."""

from __future__ import annotations

import re
from collections.abc import Sequence

from isrf_pipeline import errors
from isrf_pipeline.config.redaction import redacted
from isrf_pipeline.environment.space import no_space
from isrf_pipeline.errors import IsrfError

#: What is kept on executors alone cannot be computed again elsewhere, unlike all else that one takes with it.
_LOST_EXECUTOR = re.compile(
    r"ExecutorLostFailure|CHECKPOINT_RDD_BLOCK_ID_NOT_FOUND|Checkpoint block rdd_\d+_\d+ not found"
)
_MOST_CAUSES = 10
_FROM_WORKER = re.compile(r"isrf_pipeline\.errors\.(\w+): (.+?): (.+); (.+?)\.?\s*$", re.MULTILINE)


def known_error(error: BaseException, folders: Sequence[str] = ()) -> IsrfError | None:
    """Return the error of ours behind ``error``.

    It is itself, what a Python worker raised and Spark wrapped, a disk without room, or an executor that was lost.

    Parameters
    ----------
    error
        What was raised.
    folders
        Where the run writes, so that a full disk can be named.
    """
    if isinstance(error, IsrfError):
        return error
    found = _FROM_WORKER.search(str(error))
    if found is None:
        said = _with_causes(error)
        return no_space(said, folders) or _lost_executor(said)
    kind = getattr(errors, found.group(1), IsrfError)
    if not (isinstance(kind, type) and issubclass(kind, IsrfError)):
        kind = IsrfError
    return kind(found.group(2), found.group(3), found.group(4))


def _with_causes(error: BaseException) -> str:
    """What ``error`` says and what it came from says; Spark keeps the latter beside its errors, in Java's words."""
    told: list[str] = []
    behind: BaseException | None = error
    while behind is not None and len(told) < _MOST_CAUSES:
        told += [str(behind), str(getattr(behind, "_stackTrace", None) or "")]
        behind = behind.__cause__ or getattr(behind, "_cause", None) or behind.__context__
    return "\n".join(told)


def _lost_executor(said: str) -> IsrfError | None:
    found = _LOST_EXECUTOR.search(said)
    if found is None:
        return None
    return IsrfError(
        "Spark",
        f"lost an executor and what the stage kept there ({found.group(0)})",
        "start the run again: it goes on with this stage; docs/runbook.md names what ends executors",
    )


def one_line(error: BaseException, limit: int = 300) -> str:
    """Describe ``error`` in one line without secrets, of at most ``limit`` characters where it is none of ours."""
    known = known_error(error)
    if known is not None:
        return redacted(str(known))
    text = redacted(" ".join(str(error).strip().split("\n", 1)[0].split()))
    line = f"{type(error).__name__}: {text}" if text else type(error).__name__
    return line if len(line) <= limit else line[: limit - 1] + "…"
