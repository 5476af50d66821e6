"""Gathers what the report shows of the night's campaigns."""

from __future__ import annotations

from typing import TYPE_CHECKING

from isrf_pipeline.lake import tables
from isrf_pipeline.report.figures import CampaignFigure, NamedCount, OverlapFigure

if TYPE_CHECKING:
    from isrf_pipeline.report.gathering import Reader

#: Earlier campaigns beyond these say little to a reader and stay in their table.
_OVERLAPS_SHOWN = 3


def campaign_figures(read: Reader) -> tuple[CampaignFigure, ...]:
    """Campaigns of the night in the order of their ids.

    Parameters
    ----------
    read
        Gives one night's rows of a table, empty where it does not exist.
    """
    rows = read(tables.CAMPAIGNS).orderBy("campaign_id").collect()
    if not rows:
        return ()
    shared: dict[str, list[OverlapFigure]] = {}
    for row in read(tables.CAMPAIGN_OVERLAPS).orderBy("campaign_id", "other_campaign_id").collect():
        figure = OverlapFigure(row["other_campaign_id"], row["shared_clients"], row["share"])
        shared.setdefault(row["campaign_id"], []).append(figure)
    return tuple(
        CampaignFigure(
            row["campaign_id"],
            row["name"],
            row["target_kind"],
            row["note"],
            row["status"] == "skipped",
            row["asked_size"],
            row["found"],
            row["holdout"],
            tuple(
                NamedCount(rule, count)
                for rule, count in sorted(row["excluded"].items(), key=lambda pair: (-pair[1], pair[0]))
            ),
            tuple(
                sorted(shared.get(row["campaign_id"], []), key=lambda other: -other.clients)[:_OVERLAPS_SHOWN]
            ),
        )
        for row in rows
    )
