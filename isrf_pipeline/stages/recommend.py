"""Stage recommend: ranked lists with reasons, related items, hero items and their audiences."""

from __future__ import annotations

import datetime
from typing import TYPE_CHECKING

from isrf_pipeline.campaigns.loading import load_briefs
from isrf_pipeline.campaigns.night import briefs_of_the_night, campaign_night, write_audiences
from isrf_pipeline.evaluation.split import events_before_test, listing_day, training_events
from isrf_pipeline.ingest.fingerprints import file_fingerprints
from isrf_pipeline.interests.lists import lists_from
from isrf_pipeline.interests.scoring_inputs import scoring_inputs
from isrf_pipeline.lake import tables
from isrf_pipeline.merchandising.heroes import hero_audiences, hero_items
from isrf_pipeline.merchandising.reasons import with_reasons
from isrf_pipeline.merchandising.related import related_items, shared_taste
from isrf_pipeline.rules.clients import ClientRules, already_bought, client_rules
from isrf_pipeline.rules.effects import rule_effects
from isrf_pipeline.rules.matching import unknown_values
from isrf_pipeline.rules.names import rules_in_force
from isrf_pipeline.stages.context import Stage, StageContext

if TYPE_CHECKING:
    from pyspark.sql import DataFrame


def run(ctx: StageContext) -> None:
    """Compute and store this night's lists."""
    from pyspark.sql import functions as F

    settings = ctx.settings.recommend
    # First of all: who has written a brief wrong should know before the lists are computed.
    briefs = briefs_of_the_night(ctx)
    interactions = ctx.read(tables.INTERACTIONS)
    items, features = ctx.read(tables.ITEMS), ctx.read(tables.ITEM_FEATURES)
    declared = ctx.settings.rules
    rules: ClientRules | None = None
    if settings.input == "before_test":
        events = events_before_test(interactions, ctx.settings.split)
        excluded, only_available = events.select("user_id", "item_id"), False
        day = listing_day(interactions, ctx.settings.split, "test")
        # Lists that are measured beside published figures are the model's alone unless rules are declared.
        if declared.active:
            rules = client_rules(ctx, events)
    else:
        events = interactions
        excluded, again = already_bought(interactions, items, settings.exclude_seen, declared, ctx.run_date)
        rules = client_rules(ctx, events, again)
        only_available = settings.only_available
        day = (ctx.run_date - datetime.date(1970, 1, 1)).days
    inputs = scoring_inputs(ctx, events, excluded, only_available, day)
    if briefs:
        # Lists and campaigns both score all clients.
        inputs.clients.persist()
    ranked = lists_from(ctx, inputs, only_available, rules)
    if rules is None:
        lists = ranked.withColumn("rules", F.lit(None).cast("array<string>"))
    else:
        # Written and counted: they are computed once.
        ranked = ranked.persist()
        lists = ranked.where("rank IS NOT NULL")
    members = ctx.read(tables.SEGMENT_MEMBERS).where(F.col("run_date") == F.lit(ctx.run_date))
    delivered = with_reasons(lists, items, features).join(
        members.select("user_id", "segment_id"), "user_id", "left"
    )
    night = F.lit(ctx.run_date)
    training = training_events(interactions, ctx.settings.split)
    taste = shared_taste(training, items, settings.taste_items)
    related = related_items(ctx.read(tables.EDGES), taste, settings.related_items)
    ctx.write_together(
        (tables.RECOMMENDATIONS, delivered.withColumn("run_date", night)),
        (tables.RELATED_ITEMS, related.withColumn("run_date", night)),
    )
    if rules is not None:
        in_force = rules_in_force(declared, only_available, bool(settings.exclude_seen))
        _count_effects(ctx, ranked, in_force)
        ranked.unpersist()
    stored = ctx.stored(tables.RECOMMENDATIONS).where(F.col("run_date") == night)
    heroes = hero_items(stored, training, members, settings.hero_items)
    ctx.write(tables.HERO_ITEMS, heroes.withColumn("run_date", night))
    named = ctx.stored(tables.HERO_ITEMS).where(F.col("run_date") == night)
    campaigns = campaign_night(ctx, briefs, inputs, excluded, members, only_available)
    write_audiences(ctx, hero_audiences(stored, named), campaigns)


def _sources(ctx: StageContext) -> dict[str, int]:
    """Fingerprints of the files that briefs and exclusions are made of."""
    paths = {f"campaigns.{place}": path for place, path in enumerate(ctx.settings.campaigns.briefs)}
    for brief in load_briefs(ctx.settings.campaigns.briefs):
        if brief.exclude.clients_file is not None:
            paths[f"campaign {brief.id}"] = brief.exclude.clients_file
    if ctx.settings.rules.exclude.clients is not None:
        paths["rules.exclude.clients"] = ctx.settings.rules.exclude.clients.path
    return file_fingerprints(ctx.spark, paths)


def _count_effects(ctx: StageContext, ranked: DataFrame, rules: tuple[str, ...]) -> None:
    """Store what the rules did, and how many of their values mean nothing in the catalogue."""
    declared = ctx.settings.rules
    values = rule_effects(ranked, rules, declared.new_arrivals)
    unknown = unknown_values(ctx.read(tables.ITEMS), declared, ctx.settings.ingest.event_weights)
    values |= {("unknown_values", key): count for key, count in unknown.items()}
    ctx.write_metrics("rules", values)


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
        tables.PROFILE_WEIGHTS,
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
        tables.METRICS,
    ),
    run=run,
    sources=_sources,
)
