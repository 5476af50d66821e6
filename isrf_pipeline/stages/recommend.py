"""Stage recommend: ranked lists with reasons, related items, hero items and their audiences."""

from __future__ import annotations

import datetime

from isrf_pipeline.campaigns.night import briefs_of_the_night, campaign_night, write_audiences
from isrf_pipeline.evaluation.split import events_before_test, listing_day, training_events
from isrf_pipeline.interests.lists import lists_from
from isrf_pipeline.interests.scoring_inputs import scoring_inputs
from isrf_pipeline.lake import tables
from isrf_pipeline.merchandising.heroes import hero_audiences, hero_items
from isrf_pipeline.merchandising.reasons import with_reasons
from isrf_pipeline.merchandising.related import related_items
from isrf_pipeline.stages.context import Stage, StageContext


def run(ctx: StageContext) -> None:
    """Compute and store this night's lists."""
    from pyspark.sql import functions as F

    settings = ctx.settings.recommend
    # First of all: who has written a brief wrong should know before the lists are computed.
    briefs = briefs_of_the_night(ctx)
    interactions = ctx.read(tables.INTERACTIONS)
    items, features = ctx.read(tables.ITEMS), ctx.read(tables.ITEM_FEATURES)
    if settings.input == "before_test":
        events = events_before_test(interactions, ctx.settings.split)
        excluded, only_available = events.select("user_id", "item_id"), False
        day = listing_day(interactions, ctx.settings.split, "test")
    else:
        events = interactions
        excluded = interactions.where(F.col("event_type").isin(settings.exclude_seen)).select(
            "user_id", "item_id"
        )
        only_available = settings.only_available
        day = (ctx.run_date - datetime.date(1970, 1, 1)).days
    inputs = scoring_inputs(ctx, events, excluded, only_available, day)
    if briefs:
        # Lists and campaigns both score all clients.
        inputs.clients.persist()
    lists = lists_from(ctx, inputs, only_available)
    members = ctx.read(tables.SEGMENT_MEMBERS).where(F.col("run_date") == F.lit(ctx.run_date))
    delivered = with_reasons(lists, items, features).join(
        members.select("user_id", "segment_id"), "user_id", "left"
    )
    night = F.lit(ctx.run_date)
    related = related_items(ctx.read(tables.EDGES), settings.related_items)
    ctx.write_together(
        (tables.RECOMMENDATIONS, delivered.withColumn("run_date", night)),
        (tables.RELATED_ITEMS, related.withColumn("run_date", night)),
    )
    stored = ctx.lake.read(tables.RECOMMENDATIONS).where(F.col("run_date") == night)
    heroes = hero_items(
        stored, training_events(interactions, ctx.settings.split), members, settings.hero_items
    )
    ctx.write(tables.HERO_ITEMS, heroes.withColumn("run_date", night))
    named = ctx.lake.read(tables.HERO_ITEMS).where(F.col("run_date") == night)
    campaigns = campaign_night(ctx, briefs, inputs, excluded, members, only_available)
    write_audiences(ctx, hero_audiences(stored, named), campaigns)


STAGE = Stage(
    "recommend",
    reads=(
        tables.INTERACTIONS,
        tables.ITEMS,
        tables.CLIENTS,
        tables.ITEM_FEATURES,
        tables.USER_FEATURES,
        tables.EDGES,
        tables.FIELD_WEIGHTS,
        tables.PROFILES,
        tables.INTEREST_MODEL,
        tables.INTEREST_PARAMETERS,
        tables.SEGMENTS,
        tables.SEGMENT_MEMBERS,
    ),
    writes=(
        tables.RECOMMENDATIONS,
        tables.RELATED_ITEMS,
        tables.HERO_ITEMS,
        tables.AUDIENCES,
        tables.CAMPAIGNS,
        tables.CAMPAIGN_OVERLAPS,
    ),
    run=run,
)
