"""Where a night's files go, and how a new set takes the place of the old one at once."""

from __future__ import annotations

import contextlib
import datetime
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

from isrf_pipeline.config import Settings
from isrf_pipeline.environment.space import cannot_write
from isrf_pipeline.errors import ConfigurationError
from isrf_pipeline.exports.manifest import MANIFEST_NAME, describe_file

#: Beside the nights' folders: which of them is the newest.
LATEST_NAME = "latest.json"


def export_folder(settings: Settings, run_date: datetime.date) -> Path:
    """Folder of one night's files: ``<export.directory or lake.root/exports>/<run_date>``.

    Raises
    ------
    ConfigurationError
        If the files would have to go to an object store.
    """
    root = settings.export.directory or f"{settings.lake.root.rstrip('/')}/exports"
    if root.startswith("file:"):
        root = "/" + root.removeprefix("file:").lstrip("/")
    if "://" in root:
        raise ConfigurationError(
            f"export.directory {root}",
            "exports cannot be written to an object store yet",
            "set export.directory to a local folder or a mounted share that all executors see",
        )
    return Path(root).resolve() / run_date.isoformat()


def exports_root(settings: Settings) -> Path | None:
    """Folder of all nights' folders; None where the settings name none that files can be written to."""
    try:
        return export_folder(settings, datetime.date.min).parent
    except ConfigurationError:
        return None


@contextlib.contextmanager
def replaced_folder(final: Path) -> Iterator[Path]:
    """Give an empty folder beside ``final`` that takes its place when the body ends well.

    Readers see the old files or the new ones, never a mixture. Between the two renames at the end ``final`` is
    absent for an instant; a run that dies right there leaves the old files beside it, and the next run puts them
    back. A body that fails leaves ``final`` as it was.

    Raises
    ------
    EnvironmentMismatchError
        If the folder cannot be written.
    """
    staging = final.with_name(f".{final.name}.writing")
    previous = final.with_name(f".{final.name}.previous")
    try:
        if previous.exists() and not final.exists():
            previous.rename(final)
        shutil.rmtree(staging, ignore_errors=True)
        shutil.rmtree(previous, ignore_errors=True)
        staging.mkdir(parents=True)
    except OSError as error:
        raise cannot_write(
            str(final.parent), "the export folder cannot be written", error, "export.directory"
        ) from None
    try:
        yield staging
    except BaseException:
        shutil.rmtree(staging, ignore_errors=True)
        raise
    if final.exists():
        final.rename(previous)
    staging.rename(final)
    shutil.rmtree(previous, ignore_errors=True)


def point_to_current(root: Path, night: datetime.date | None) -> Path | None:
    """Let ``latest.json`` in ``root`` name a night, in one step.

    Readers see the old file or the new one. It holds run_date, folder, and path and SHA-256 of the manifest.

    Parameters
    ----------
    root
        Folder of all nights' folders.
    night
        The night that consumers are to see; None where none is published.

    Returns
    -------
    Path or None
        The file; None where that night has no manifest here, and then no file either.
    """
    latest = root / LATEST_NAME
    folder = root / str(night)
    if not (folder / MANIFEST_NAME).is_file():
        latest.unlink(missing_ok=True)
        return None
    manifest = describe_file(root, folder / MANIFEST_NAME, rows=None)
    content = {
        "run_date": folder.name,
        "folder": folder.name,
        "manifest": {"path": manifest.path, "sha256": manifest.sha256},
    }
    partial = latest.with_name(f".{LATEST_NAME}.partial")
    partial.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    partial.replace(latest)
    return latest
