"""Export folders of old nights and run logs of old runs."""

from __future__ import annotations

import datetime
import re
import shutil
from pathlib import Path

#: ``<night>-<start in UTC>-<6 hexadecimal digits>.log``, see :func:`isrf_pipeline.run.identity.new_run_id`.
_RUN_LOG = re.compile(r"\d{8}-(\d{4})(\d{2})(\d{2})T\d{6}Z-[0-9a-f]{6}\.log")


def remove_old_exports(root: Path, kept: int, current: datetime.date | None) -> list[str]:
    """Remove the folders of old nights.

    Parameters
    ----------
    root
        Folder of all nights' folders; nothing else in it is touched.
    kept
        The newest nights that stay.
    current
        The night that consumers see, which stays however old it is.

    Returns
    -------
    list of str
        The nights whose folders went, in their order.
    """
    nights = (
        sorted(folder.name for folder in root.iterdir() if folder.is_dir() and _day(folder.name))
        if root.is_dir()
        else []
    )
    old = [night for night in nights[:-kept] if night != str(current)]
    for night in old:
        shutil.rmtree(root / night)
    return old


def remove_old_logs(folder: Path, first: datetime.date) -> int:
    """Remove the logs of runs that started before ``first`` and return how many; other files stay."""
    removed = 0
    for path in sorted(folder.iterdir()) if folder.is_dir() else []:
        named = _RUN_LOG.fullmatch(path.name)
        started = _day("-".join(named.groups())) if named is not None else None
        if started is not None and started < first:
            path.unlink()
            removed += 1
    return removed


def _day(name: str) -> datetime.date | None:
    try:
        day = datetime.date.fromisoformat(name)
    except ValueError:
        return None
    return day if day.isoformat() == name else None
