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
from isrf_pipeline.explanation.own_interest import edges_between, own_interest_lines
from isrf_pipeline.explanation.shared_interest import Group, group_of, model_lines
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
    """Lines that lead from a client's events over its own and its group's interest to the list of one night.

    Events and graphs are those of now, the list is that of the night.

    Raises
    ------
    UsageError
        If the lake does not know the client.
    MissingTableError
        If nothing was recommended yet.
    """
    from pyspark.sql import functions as F

    events = lake.read(tables.INTERACTIONS).where(F.col("user_id") == user_id)
    newest_first = events.orderBy(F.desc("ts"), "item_id", "event_type").limit(_HISTORY)
    # The day is taken in Spark, in the session's UTC: here it would come out in the machine's own time zone.
    history = newest_first.withColumn("day", F.date_format("ts", "yyyy-MM-dd")).collect()
    if not history and not _is_known(lake, user_id):
        raise UsageError(
            f"--user {user_id}",
            f"no event of this client is in the lake {lake.root}, nor is it among its clients",
            "check the identifier",
        )
    everything = lake.read(tables.RECOMMENDATIONS)
    if night is None:
        night = current_night(lake)
    chosen = (F.col("user_id") == user_id) & (F.col("run_date") == F.lit(night))
    recommended = everything.where(chosen).orderBy("rank").collect()
    model = _model_row(lake, night)
    group = group_of(lake, user_id, model["round"] if model is not None else 0)
    titles = _titles(lake, history, recommended, group)
    lines = [f"client {user_id}", ""]
    if history:
        lines += [f"history, newest first (at most {_HISTORY} events):", *_history_lines(history, titles)]
        lines += ["", "own interest (explicit):", *own_interest_lines(lake, user_id)]
    else:
        lines.append("no history: the list comes from clients who share attributes, and from what all choose")
    lines += ["", *_group_lines(group, titles), "", *_segment_lines(lake, user_id, night), ""]
    if not recommended:
        return [*lines, f"nothing was recommended to this client for the night {night}"]
    edges = edges_between(
        lake, {(item, row["item_id"]) for row in recommended for item in row["because_items"]}
    )
    lines += [*model_lines(model), "", f"recommendations for the night {night}:"]
    for row in recommended:
        lines += _recommendation_lines(row, titles, edges)
    return lines


def _is_known(lake: Lake, user_id: str) -> bool:
    from pyspark.sql import functions as F

    return lake.exists(tables.CLIENTS) and bool(
        lake.read(tables.CLIENTS).where(F.col("user_id") == user_id).head(1)
    )


def _model_row(lake: Lake, night: datetime.date | None) -> Row | None:
    from pyspark.sql import functions as F

    if not lake.exists(tables.INTEREST_MODEL):
        return None
    return lake.read(tables.INTEREST_MODEL).where(F.col("run_date") == F.lit(night)).first()


def _titles(lake: Lake, history: list[Row], recommended: list[Row], group: Group | None) -> dict[str, str]:
    from pyspark.sql import functions as F

    wanted = {row["item_id"] for row in [*history, *recommended]}
    wanted |= {item for row in recommended for item in row["because_items"]}
    wanted |= {item for item, _ in group.items} if group is not None else set()
    items = lake.read(tables.ITEMS).where(F.col("item_id").isin(sorted(wanted)))
    return {row["item_id"]: row["title"] or "" for row in items.select("item_id", "title").collect()}


def _history_lines(history: list[Row], titles: Mapping[str, str]) -> list[str]:
    rows = [
        (f"  {row['day']}", row["event_type"], row["item_id"], _short(titles.get(row["item_id"], "")))
        for row in history
    ]
    return text_table(("  day", "event", "item", "title"), rows)


def _group_lines(group: Group | None, titles: Mapping[str, str]) -> list[str]:
    if group is None:
        return [
            "similar clients (implicit): none in the user graph, which holds clients with training events"
        ]
    lines = [
        f"similar clients (implicit): {group.size:,}, cosine {group.nearest:.2f} to {group.farthest:.2f}"
        + (", who also chose:" if group.items else "")
    ]
    rows = [
        (f"  {clients:,} of {group.size:,}", item, _short(titles.get(item, "")))
        for item, clients in group.items
    ]
    return lines + (text_table(("  clients", "item", "title"), rows) if rows else [])


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


def _recommendation_lines(
    row: Row, titles: Mapping[str, str], edges: Mapping[tuple[str, str], list[str]]
) -> list[str]:
    shares = (
        f"{row['explicit_share']:.0%} from the own history, {row['implicit_share']:.0%} from similar clients"
    )
    lines = [
        f"{row['rank']:>3}. {row['item_id']}  {_short(titles.get(row['item_id'], ''))}",
        f"     {row['reason']}",
        f"     score {row['score']:.4f}: {shares}",
    ]
    if row["rules"]:
        lines.append(f"     placed here by {', '.join(row['rules'])}, not by its score alone")
    for item in row["because_items"]:
        led = ", ".join(edges.get((item, row["item_id"]), ()))
        name = f"{item} {_short(titles.get(item, ''), 40)}".strip()
        lines.append(f"     because of {name}" + (f": {led}" if led else ""))
    return lines


def _short(text: str, width: int = 70) -> str:
    return textwrap.shorten(text, width, placeholder="…")
