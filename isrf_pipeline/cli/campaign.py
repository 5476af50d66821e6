"""``isrf campaign check``: whether briefs can run, before the night."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence

from isrf_pipeline.campaigns.brief import Brief
from isrf_pipeline.campaigns.loading import load_briefs
from isrf_pipeline.cli.parser import CommandGroup, add_override_argument
from isrf_pipeline.config import load_settings
from isrf_pipeline.errors import UsageError
from isrf_pipeline.run.identity import parse_run_date
from isrf_pipeline.run.reading import open_lake
from isrf_pipeline.run.terminal import say

#: Articles of a theme that are shown.
_SHOWN = 5


def add_commands(commands: CommandGroup) -> None:
    """Add the command and its one part."""
    campaign = commands.add("campaign", "check the briefs of campaigns")
    parts = campaign.add_commands("parts")
    check = parts.add(
        "check", "check briefs against the format and, with a configuration, against what the lake has"
    )
    check.add_argument("files", nargs="+", metavar="FILE", help="brief, or folder of briefs")
    check.add_argument(
        "--conf-file", metavar="CONF", help="YAML file of the environment whose lake is to be looked into"
    )
    add_override_argument(check)
    check.set_defaults(command=check_briefs)


def check_briefs(arguments: argparse.Namespace) -> int:
    """Refuse the first brief that cannot run; say what the others ask for."""
    if arguments.set and arguments.conf_file is None:
        raise UsageError("--set", "overrides a configuration, and none is given", "add --conf-file")
    briefs = load_briefs(arguments.files)
    if not briefs:
        raise UsageError(
            " ".join(arguments.files), "holds no brief", "name a file, or a folder of *.yaml files"
        )
    articles: dict[str, Sequence[str]] = {}
    if arguments.conf_file is not None:
        articles = _articles_in_lake(arguments, briefs)
    for line in brief_lines(briefs, articles):
        say(line)
    return 0


def brief_lines(briefs: Sequence[Brief], articles: Mapping[str, Sequence[str]]) -> list[str]:
    """What each brief asks for, and the nearest articles of a theme where they are known.

    Parameters
    ----------
    briefs
        Good ones.
    articles
        Titles of the articles by the brief's id.
    """
    lines = []
    for brief in briefs:
        when = [f"from {brief.valid_from}"] if brief.valid_from else []
        when += [f"until {brief.valid_until}"] if brief.valid_until else []
        target = brief.target
        about = (
            f"{len(set(target.items))} articles"
            if target.items is not None
            else f"{target.kind} '{target.theme or target.segment}'"
        )
        parts = [about, f"at most {brief.size:,} clients, {brief.holdout_share:.0%} of them held out", *when]
        lines.append(f"{brief.id}: {', '.join(parts)}: ok")
        if target.theme is not None and brief.id in articles:
            titles = articles[brief.id]
            lines.append(f"    {len(titles)} articles stand for it, the nearest are:")
            lines += [f"    - {title}" for title in titles[:_SHOWN]]
    return lines


def _articles_in_lake(arguments: argparse.Namespace, briefs: Sequence[Brief]) -> dict[str, Sequence[str]]:
    from isrf_pipeline.campaigns.checking import check_in_lake, titles_of
    from isrf_pipeline.stages.context import StageContext

    effective = load_settings(arguments.conf_file, arguments.set)
    with open_lake(effective) as lake:
        ctx = StageContext(lake.spark, effective.settings, lake, parse_run_date(None), "campaign check")
        campaigns = check_in_lake(ctx, briefs)
        titles = titles_of(ctx, campaigns)
    return {campaign.brief.id: [titles[item] for item in campaign.items] for campaign in campaigns}
