"""What an audience has in common with those of earlier campaigns."""

from __future__ import annotations

from typing import TYPE_CHECKING

from isrf_pipeline.lake import tables
from isrf_pipeline.stages.context import StageContext

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

#: Audiences of hero items are made without anybody asking and reach nobody by themselves.
_HERO = "hero:"


def earlier_audiences(ctx: StageContext) -> DataFrame:
    """Clients of the audiences of all campaigns of earlier nights, holdouts included, hero items left out.

    Returns
    -------
    DataFrame
        campaign_id, user_id, last_night (date of the last night on which the client was in the audience).
    """
    from pyspark.sql import functions as F

    # A lake of an older version has the table without its newer columns.
    ctx.lake.create(tables.AUDIENCES)
    return (
        ctx.lake.read(tables.AUDIENCES)
        .where((F.col("run_date") < F.lit(ctx.run_date)) & ~F.col("campaign_id").startswith(_HERO))
        .groupBy("campaign_id", "user_id")
        .agg(F.max("run_date").alias("last_night"))
    )


def overlaps(audience: DataFrame, earlier: DataFrame) -> DataFrame:
    """Clients that each campaign's audience shares with each other campaign of earlier nights.

    Parameters
    ----------
    audience
        campaign_id, user_id: tonight's audiences.
    earlier
        See :func:`earlier_audiences`.

    Returns
    -------
    DataFrame
        campaign_id, other_campaign_id, last_night (of the other campaign), shared_clients, share (of tonight's
        audience); pairs that share nobody have no row.
    """
    from pyspark.sql import functions as F

    sizes = audience.groupBy("campaign_id").agg(F.count("*").alias("size"))
    others = earlier.withColumnRenamed("campaign_id", "other_campaign_id")
    nights = others.groupBy("other_campaign_id").agg(F.max("last_night").alias("last_night"))
    shared = (
        audience.select("campaign_id", "user_id")
        .join(others.drop("last_night"), "user_id")
        .where(F.col("campaign_id") != F.col("other_campaign_id"))
        .groupBy("campaign_id", "other_campaign_id")
        .agg(F.count("*").alias("shared_clients"))
    )
    return (
        shared.join(F.broadcast(sizes), "campaign_id")
        .join(F.broadcast(nights), "other_campaign_id")
        .select(
            "campaign_id",
            "other_campaign_id",
            "last_night",
            "shared_clients",
            (F.col("shared_clients") / F.col("size")).alias("share"),
        )
    )
