"""Several files at once: those of all profiles with the rows they left out, and those of the star schema."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import TYPE_CHECKING

from isrf_pipeline.concurrent_actions import run_together
from isrf_pipeline.exports.lines import profile_lines, rejected_rows
from isrf_pipeline.exports.manifest import ExportedFile
from isrf_pipeline.exports.profiles import REJECTED, Profile
from isrf_pipeline.exports.writing import ROWS_PER_PARQUET_FILE, write_parquet_folder, write_profile
from isrf_pipeline.lake import Table

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

#: Folder of the star schema's files.
STAR_FOLDER = "bi"


def write_profiles(
    deliveries: list[tuple[Profile, DataFrame, tuple[str, ...]]], folder: Path
) -> list[ExportedFile]:
    """Write the files of each profile, and one of the rows that had to be left out.

    Parameters
    ----------
    deliveries
        Profile, its rows (user_id among their columns), and the columns that order them.
    folder
        Existing folder that driver and executors both see.

    Returns
    -------
    list of ExportedFile
        In the order of ``deliveries``; the file of rejected rows is the last.
    """
    actions, rejected = [], []
    for profile, rows, order in deliveries:
        lines = profile_lines(rows, profile, order)
        actions.append(functools.partial(write_profile, lines, folder, profile, order))
        rejected.append(rejected_rows(lines, profile))
    left_out = functools.reduce(lambda some, others: some.union(others), rejected).distinct()
    order = ("profile", "user_id", "column")
    lines = profile_lines(left_out, REJECTED, order)
    actions.append(functools.partial(write_profile, lines, folder, REJECTED, order))
    return [file for files in run_together(*actions) for file in files]


def write_star(star: list[tuple[Table, DataFrame]], folder: Path) -> list[ExportedFile]:
    """Write each table of the star schema as a folder of Parquet files below ``bi``.

    Parameters
    ----------
    star
        Tables and their rows.
    folder
        Existing folder that driver and executors both see.
    """
    return [
        file
        for files in run_together(*[functools.partial(_write_table, *table, folder) for table in star])
        for file in files
    ]


def _write_table(table: Table, rows: DataFrame, folder: Path) -> list[ExportedFile]:
    name = f"{STAR_FOLDER}/{table.name.split('.')[1]}"
    files = max(1, -(-rows.count() // ROWS_PER_PARQUET_FILE))
    spread_by = next((key for key in table.key if key != "run_date"), "run_date")
    return write_parquet_folder(rows, folder, name, spread_by, table.key, files)
