"""``isrf explain``: why one client was recommended what."""

from __future__ import annotations

import argparse
import datetime
import textwrap
from collections.abc import Mapping
from typing import TYPE_CHECKING

from isrf_pipeline.cli.parser import CommandGroup, add_settings_arguments
from isrf_pipeline.config import load_settings
from isrf_pipeline.errors import UsageError
from isrf_pipeline.lake import Lake, tables
from isrf_pipeline.publication.record import current_night
from isrf_pipeline.run.identity import parse_run_date
from isrf_pipeline.run.reading import open_lake
from isrf_pipeline.run.terminal import say, text_table

if TYPE_CHECKING:
    from pyspark.sql import Row

_HISTORY = 20


def add_commands(commands: CommandGroup) -> None:
    """Add the command."""
    explain = commands.add("explain", "print a client's history and why each recommendation was made")
    explain.add_argument("--user", required=True, metavar="U", help="client, as named by the source")
    explain.add_argument(
        "--run-date", metavar="YYYY-MM-DD", help="night; the newest with recommendations if absent"
    )
    add_settings_arguments(explain)
    explain.set_defaults(command=print_explanation)


def print_explanation(arguments: argparse.Namespace) -> int:
    """Print the explanation."""
    night = parse_run_date(arguments.run_date) if arguments.run_date is not None else None
    effective = load_settings(arguments.conf_file, arguments.set)
    with open_lake(effective) as lake:
        lines = explanation(lake, arguments.user, night)
    for line in lines:
        say(line)
    return 0


def explanation(lake: Lake, user_id: str, night: datetime.date | None = None) -> list[str]:
    """Lines that lead from a client's history to the recommendations of one night.

    Raises
    ------
    UsageError
        If the lake has no event of the client.
    MissingTableError
        If nothing was recommended yet.
    """
    from pyspark.sql import functions as F

    events = lake.read(tables.INTERACTIONS).where(F.col("user_id") == user_id)
    newest_first = events.orderBy(F.desc("ts"), "item_id", "event_type").limit(_HISTORY)
    # The day is taken in Spark, in the session's UTC: here it would come out in the machine's own time zone.
    history = newest_first.withColumn("day", F.date_format("ts", "yyyy-MM-dd")).collect()
    if not history:
        raise UsageError(
            f"--user {user_id}", f"no event of this client is in the lake {lake.root}", "check the identifier"
        )
    everything = lake.read(tables.RECOMMENDATIONS)
    if night is None:
        night = current_night(lake)
    chosen = (F.col("user_id") == user_id) & (F.col("run_date") == F.lit(night))
    recommended = everything.where(chosen).orderBy("rank").collect()
    titles = _titles(lake, history, recommended)
    lines = [f"client {user_id}", "", f"history, newest first (at most {_HISTORY} events):"]
    lines += _history_lines(history, titles)
    lines += ["", *_segment_lines(lake, user_id, night), ""]
    if not recommended:
        return [*lines, f"nothing was recommended to this client for the night {night}"]
    lines.append(f"recommendations for the night {night}:")
    for row in recommended:
        lines += _recommendation_lines(row, titles)
    return lines


def _titles(lake: Lake, history: list[Row], recommended: list[Row]) -> dict[str, str]:
    from pyspark.sql import functions as F

    wanted = {row["item_id"] for row in [*history, *recommended]}
    wanted |= {item for row in recommended for item in row["because_items"]}
    items = lake.read(tables.ITEMS).where(F.col("item_id").isin(sorted(wanted)))
    return {row["item_id"]: row["title"] or "" for row in items.select("item_id", "title").collect()}


def _history_lines(history: list[Row], titles: Mapping[str, str]) -> list[str]:
    rows = [
        (f"  {row['day']}", row["event_type"], row["item_id"], _short(titles.get(row["item_id"], "")))
        for row in history
    ]
    return text_table(("  day", "event", "item", "title"), rows)


def _segment_lines(lake: Lake, user_id: str, night: datetime.date | None) -> list[str]:
    from pyspark.sql import functions as F

    if not (lake.exists(tables.SEGMENT_MEMBERS) and lake.exists(tables.SEGMENTS)):
        return ["segment: none yet"]
    members = lake.read(tables.SEGMENT_MEMBERS).where(
        (F.col("user_id") == user_id) & (F.col("run_date") == F.lit(night))
    )
    found = members.join(lake.read(tables.SEGMENTS), ["run_date", "segment_id"]).first()
    if found is None:
        return ["segment: none"]
    described = f"segment {found['segment_id']}: {found['name']} ({found['size']:,} clients)"
    return [described, f"  {found['description']}"]


def _recommendation_lines(row: Row, titles: Mapping[str, str]) -> list[str]:
    shares = (
        f"{row['explicit_share']:.0%} from the own history, {row['implicit_share']:.0%} from similar clients"
    )
    because = ", ".join(f"{item} {_short(titles.get(item, ''), 40)}".strip() for item in row["because_items"])
    lines = [
        f"{row['rank']:>3}. {row['item_id']}  {_short(titles.get(row['item_id'], ''))}",
        f"     {row['reason']}",
        f"     score {row['score']:.4f}: {shares}",
    ]
    if row["rules"]:
        lines.append(f"     placed here by {', '.join(row['rules'])}, not by its score alone")
    return [*lines, f"     because of {because}"] if because else lines


def _short(text: str, width: int = 70) -> str:
    return textwrap.shorten(text, width, placeholder="…")
