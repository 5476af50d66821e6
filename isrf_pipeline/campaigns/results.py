"""What came of each brief, counted: the rows of gold.campaigns."""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from isrf_pipeline.campaigns.targets import Campaign

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

#: What only the fit can tell: all articles of the target are bought already; the fit is below the brief's min_score.
_NOTHING_LEFT = "all_bought"
_BELOW = "below_min_score"
_ELIGIBLE = "eligible"


def counts_by_fit(fits: DataFrame, running: Sequence[Campaign]) -> dict[tuple[int, str], int]:
    """Clients by the campaign's position and what their fit says: all_bought, below_min_score or eligible.

    Parameters
    ----------
    fits
        user_id, target (position), fit.
    running
        The campaigns.
    """
    from pyspark.sql import functions as F

    least = F.array(*[F.lit(campaign.brief.min_score) for campaign in running])[F.col("target")]
    kind = (
        F.when(F.col("fit").isNull(), _NOTHING_LEFT).when(F.col("fit") < least, _BELOW).otherwise(_ELIGIBLE)
    )
    rows = fits.groupBy("target", kind.alias("kind")).count().collect()
    return {(row["target"], row["kind"]): row["count"] for row in rows}


def audience_sizes(chosen: DataFrame) -> dict[int, tuple[int, int]]:
    """Clients and clients held out, by the campaign's position."""
    from pyspark.sql import functions as F

    rows = (
        chosen.groupBy("target")
        .agg(F.count("*").alias("clients"), F.count_if("holdout").alias("held_out"))
        .collect()
    )
    return {row["target"]: (row["clients"], row["held_out"]) for row in rows}


def result_row(
    night: datetime.date,
    campaign: Campaign,
    place: int,
    excluded: Mapping[tuple[int, str], int],
    by_fit: Mapping[tuple[int, str], int],
    sizes: Mapping[int, tuple[int, int]],
) -> tuple[object, ...]:
    """Row of gold.campaigns.

    Parameters
    ----------
    night
        The night.
    campaign
        Of which; one that did not run has no counts.
    place
        Its position.
    excluded, by_fit, sizes
        See :func:`isrf_pipeline.campaigns.eligibility.rule_counts`, :func:`counts_by_fit` and
        :func:`audience_sizes`.
    """
    brief = campaign.brief
    left_out = {rule: count for (of, rule), count in [*excluded.items(), *by_fit.items()] if of == place}
    eligible = left_out.pop(_ELIGIBLE, 0)
    clients, held_out = sizes.get(place, (0, 0))
    return (
        night,
        brief.id,
        brief.name,
        "done" if campaign.runs else "skipped",
        campaign.note,
        brief.target.kind,
        brief.target.theme or campaign.segment_id or brief.target.segment,
        dict(campaign.items),
        brief.size,
        brief.holdout_share,
        eligible,
        clients,
        held_out,
        dict(sorted(left_out.items())),
        brief.fingerprint(),
    )
