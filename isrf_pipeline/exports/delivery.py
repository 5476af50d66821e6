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
    from pyspark.sql import functions as F

    # One action counts them all: most are small, and each action costs more than their rows.
    counts = [rows.agg(F.lit(table.name).alias("name"), F.count("*").alias("rows")) for table, rows in star]
    union = functools.reduce(lambda some, others: some.union(others), counts)
    counted = {row["name"]: row["rows"] for row in union.collect()}
    actions = [
        functools.partial(_write_table, table, rows, counted[table.name], folder) for table, rows in star
    ]
    return [file for files in run_together(*actions) for file in files]


def _write_table(table: Table, rows: DataFrame, count: int, folder: Path) -> list[ExportedFile]:
    name = f"{STAR_FOLDER}/{table.name.split('.')[1]}"
    files = max(1, -(-count // ROWS_PER_PARQUET_FILE))
    spread_by = next((key for key in table.key if key != "run_date"), "run_date")
    return write_parquet_folder(rows, folder, name, spread_by, table.key, files)
