"""``isrf demo``: the demo lake, one whole nightly run on it, and where to look afterwards."""

from __future__ import annotations

import argparse
import datetime
import hashlib
import json
from pathlib import Path

import isrf_pipeline
from isrf_pipeline.cli.demo_week import run_week
from isrf_pipeline.cli.parser import CommandGroup, add_override_argument
from isrf_pipeline.config import EffectiveSettings, Settings, load_settings
from isrf_pipeline.config.keys import leaves
from isrf_pipeline.demo.week import Week
from isrf_pipeline.environment.java import require_java
from isrf_pipeline.errors import ConfigurationError, EnvironmentMismatchError, UsageError
from isrf_pipeline.exports.folder import export_folder
from isrf_pipeline.lake import Lake, tables
from isrf_pipeline.run.execution import execute
from isrf_pipeline.run.launch import under_spark_submit
from isrf_pipeline.run.reading import open_lake
from isrf_pipeline.run.terminal import say, text_table
from isrf_pipeline.stages.registry import STAGE_NAMES

#: The demo's night: its lake ends there, so every run of the demo is the same.
DEMO_NIGHT = datetime.date(2026, 6, 30)

_DEFAULT_DIRECTORY = "demo-lake"
_MARK = ".generated.json"
#: Where the repository's files are looked for: the working folder, and beside the package.
_FOLDERS = (Path(), Path(isrf_pipeline.__file__).resolve().parent.parent)


def add_commands(commands: CommandGroup) -> None:
    """Add the command."""
    demo = commands.add("demo", "generate the demo lake and run the whole nightly pipeline on it")
    demo.add_argument(
        "--directory", default=_DEFAULT_DIRECTORY, metavar="DIR", help="folder of the demo; demo-lake"
    )
    demo.add_argument(
        "--seed", type=int, default=7, metavar="N", help="seed of the generated lake; 7 if absent"
    )
    demo.add_argument(
        "--nights",
        type=int,
        metavar="N",
        help="run N nights in a row, with new clients and articles, an erasure, a poisoned feed and a crash",
    )
    add_override_argument(demo)
    demo.set_defaults(command=run)


def run(arguments: argparse.Namespace) -> int:
    """Run the demo."""
    directory = Path(arguments.directory)
    file = demo_configuration()
    settings = load_settings(file).settings
    moved = moved_paths(settings, directory) + found_briefs(settings)
    effective = load_settings(file, [*moved, *arguments.set])
    if not under_spark_submit():
        require_java()
    if arguments.nights is not None:
        return _run_nights(arguments, directory, file, [*moved, *arguments.set])
    prepare_raw_files(directory / "raw", arguments.seed)
    execute(
        effective,
        DEMO_NIGHT,
        STAGE_NAMES,
        then=lambda lake: _show_results(lake, effective, DEMO_NIGHT),
        skip_fresh=True,
    )
    return 0


def _run_nights(arguments: argparse.Namespace, directory: Path, file: Path, overrides: list[str]) -> int:
    week = Week(arguments.nights)
    if week.nights < 1:
        raise UsageError(f"--nights {week.nights}", "must be at least 1", "give 7 for a week")
    whole = directory / "whole"
    prepare_raw_files(whole, arguments.seed)
    made_by = json.dumps([_made_by(arguments.seed), week.nights, overrides])
    run_week(whole, directory, file, overrides, week, made_by)
    effective = load_settings(file, overrides)
    with open_lake(effective) as lake:
        say()
        _show_results(lake, effective, week.date_of(week.nights))
    return 0


def demo_configuration() -> Path:
    """Find conf/demo.yaml: in the working folder, else beside the package.

    Raises
    ------
    ConfigurationError
        If it is in neither place.
    """
    for folder in _FOLDERS:
        file = folder / "conf" / "demo.yaml"
        if file.is_file():
            return file
    raise ConfigurationError("conf/demo.yaml", "is not here", "run isrf demo in a clone of the repository")


def moved_paths(settings: Settings, directory: Path) -> list[str]:
    """Overrides that put every path below the demo's usual folder below ``directory`` instead."""
    overrides = []
    for key, value in _texts(settings.model_dump(mode="json", include={"lake", "ingest", "export"})):
        parts = Path(value).parts
        if parts and parts[0] == _DEFAULT_DIRECTORY:
            overrides.append(f"{key}={json.dumps(str(directory.joinpath(*parts[1:])))}")
    return overrides


def found_briefs(settings: Settings) -> list[str]:
    """Overrides that name the demo's briefs beside the package where the working folder has none."""
    briefs = [
        str(next((folder / place for folder in _FOLDERS if (folder / place).exists()), place))
        for place in settings.campaigns.briefs
    ]
    return [] if briefs == settings.campaigns.briefs else [f"campaigns.briefs={json.dumps(briefs)}"]


def prepare_raw_files(folder: Path, seed: int) -> None:
    """Generate the source files unless they are there, from this seed and this generator.

    Raises
    ------
    EnvironmentMismatchError
        If the folder cannot be written.
    """
    from isrf_pipeline.demo.generate import generate_demo_lake

    mark = folder / _MARK
    made_by = _made_by(seed)
    if mark.is_file() and mark.read_text(encoding="utf-8") == made_by:
        say(f"the demo's source files in {folder} are there and current")
        return
    try:
        generate_demo_lake(folder, seed=seed, run_date=DEMO_NIGHT)
        mark.write_text(made_by, encoding="utf-8")
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise EnvironmentMismatchError(
            f"--directory {folder.parent}", f"cannot be written ({reason})", "name another folder"
        ) from None
    say(f"generated the demo's source files in {folder} (seed {seed})")


def _made_by(seed: int) -> str:
    return json.dumps({"seed": seed, "night": DEMO_NIGHT.isoformat(), "generator": _generator_hash()})


def _generator_hash() -> str:
    """Hash of the generator's code and word lists: another generator makes other files from the same seed."""
    import isrf_pipeline.demo

    digest = hashlib.sha256()
    folder = Path(isrf_pipeline.demo.__file__).parent
    for file in sorted(path for path in folder.rglob("*") if path.is_file() and path.suffix != ".pyc"):
        digest.update(file.relative_to(folder).as_posix().encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()[:16]


def _texts(values: object) -> list[tuple[str, str]]:
    found = []
    for key, value in leaves(values):
        elements = enumerate(value) if isinstance(value, list) else []
        for position, element in elements:
            found += [(f"{key}.{position}.{inner}", text) for inner, text in _texts(element)]
        if isinstance(value, str):
            found.append((key, value))
    return found


def _show_results(lake: Lake, effective: EffectiveSettings, night: datetime.date) -> None:
    for line in _figures(lake, night):
        say(line)
    exports = export_folder(effective.settings, night)
    files = sorted(
        path for path in exports.rglob("*") if path.is_file() and not path.name.startswith((".", "_"))
    )
    say()
    say("exported files:")
    for path in files:
        say(f"  {path}  {path.stat().st_size:,} bytes")
    for report in (path for path in files if path.name == "report.html"):
        say()
        say(f"report: {report}")


def _figures(lake: Lake, run_date: datetime.date) -> list[str]:
    """Sizes of the delivered tables, and accuracy as far as it was measured."""
    from pyspark.sql import functions as F

    night = F.col("run_date") == F.lit(run_date)
    delivered = [
        (
            "clients with recommendations",
            lake.read(tables.RECOMMENDATIONS).where(night).select("user_id").distinct().count(),
        ),
        ("segments", lake.read(tables.SEGMENTS).where(night).count()),
        ("hero items", lake.read(tables.HERO_ITEMS).where(night).count()),
        (
            "articles with related items",
            lake.read(tables.RELATED_ITEMS).where(night).select("item_id").distinct().count(),
        ),
    ]
    measured = (
        lake.read(tables.METRICS)
        .where(
            night
            & F.col("metric").rlike(r"^evaluate\.[a-z0-9_]+\.(HR|NDCG)@(5|10)$")
            & (F.col("slice") == "all")
        )
        .orderBy("metric")
        .collect()
    )
    rows = [(name, f"{count:,}") for name, count in delivered]
    rows += [(row["metric"].removeprefix("evaluate."), f"{row['value']:.4f}") for row in measured]
    return text_table(("", ""), rows)
