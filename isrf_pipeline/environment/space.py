"""A disk without room: how it is told from other failures, and which folder it is."""

from __future__ import annotations

import re
import shutil
from collections.abc import Sequence
from pathlib import Path

from isrf_pipeline.errors import EnvironmentMismatchError

#: As the operating system says it, to Python as to Java: a full disk, a quota, and the limit of one file (ulimit -f).
_FULL = re.compile(r"No space left on device|Disk quota exceeded|File too large")
_MEND = "free space there and start the run again: it goes on where it stopped"


def no_space(text: str, folders: Sequence[str]) -> EnvironmentMismatchError | None:
    """What to say where ``text``, an error of anything that writes, tells that there was no room; else None.

    Parameters
    ----------
    text
        The error and what caused it.
    folders
        Where the run writes. Few errors name the file, so that the folder with the least room is named.
    """
    found = _FULL.search(text)
    if found is None:
        return None
    there = [folder for folder in folders if Path(folder).exists()]
    if not there:
        return EnvironmentMismatchError("the disk", f"cannot take what is written ({found.group(0)})", _MEND)
    folder, free = min(
        ((folder, shutil.disk_usage(folder).free) for folder in there), key=lambda pair: pair[1]
    )
    return EnvironmentMismatchError(
        folder, f"cannot take what is written ({found.group(0)}; {free / 1e9:,.1f} GB are free)", _MEND
    )


def cannot_write(folder: str, rule: str, error: OSError, setting: str) -> EnvironmentMismatchError:
    """What to say where a folder refused a write: there is no room in it, or the user may not.

    Parameters
    ----------
    folder
        The folder.
    rule
        What could not be done, as a clause.
    error
        What the operating system said.
    setting
        Names another folder.
    """
    said = error.strerror or type(error).__name__
    full = no_space(said, [folder])
    if full is not None:
        return full
    return EnvironmentMismatchError(
        folder, f"{rule} ({said})", f"give the user of the run write access or set {setting}"
    )
