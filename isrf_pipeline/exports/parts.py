"""Rows into numbered files within limits: plain Python, so that one task of Spark can do it and a test without."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from isrf_pipeline.exports.profiles import Profile


@dataclass(frozen=True)
class Part:
    """One file of rows.

    Attributes
    ----------
    name
        File name.
    rows
        Rows in it.
    """

    name: str
    rows: int


def write_parts(lines: Iterable[bytes], folder: Path, profile: Profile) -> list[Part]:
    """Write ``lines`` into ``folder``, a new file wherever the next row would break a limit of ``profile``.

    A row is never divided. One that is larger than a whole file gets a file of its own; rows are expected to keep
    :attr:`Profile.row_limit`.

    Parameters
    ----------
    lines
        Encoded rows, without line ends.
    folder
        Existing folder.
    profile
        Names of files, what stands around rows, limits.

    Returns
    -------
    list of Part
        In their order.
    """
    layout = profile.layout
    prefix, suffix = layout.prefix.encode(), layout.suffix.encode()
    between, after_each = layout.between.encode(), layout.after_each.encode()
    parts: list[Part] = []
    waiting = iter(lines)
    line = next(waiting, None)
    while line is not None or (not parts and layout.if_empty):
        name, rows, size = profile.file_name(len(parts) + 1), 0, len(prefix) + len(suffix)
        with (folder / name).open("wb") as file:
            file.write(prefix)
            while line is not None:
                row = (between if rows else b"") + line + after_each
                full = profile.max_rows is not None and rows == profile.max_rows
                full = full or (profile.max_bytes is not None and size + len(row) > profile.max_bytes)
                if rows and full:
                    break
                file.write(row)
                rows, size = rows + 1, size + len(row)
                line = next(waiting, None)
            file.write(suffix)
        parts.append(Part(name, rows))
    return parts
