"""What scoring needs for every client of the lake, prepared once: for ranked lists and for fits alike."""

from __future__ import annotations

import dataclasses
import datetime
from dataclasses import dataclass
from typing import TYPE_CHECKING

from isrf_pipeline.evaluation.split import training_events
from isrf_pipeline.generator.lists import with_generated
from isrf_pipeline.graphs.meaning import item_meaning
from isrf_pipeline.graphs.profiles import history_profiles
from isrf_pipeline.graphs.text_choice import INTEREST_TEXT
from isrf_pipeline.interests.chosen import ChosenModel, load_model
from isrf_pipeline.interests.cold import attribute_interest
from isrf_pipeline.interests.histories import coded_histories, item_codes
from isrf_pipeline.interests.inputs import ReferenceClients, group_after_rounds
from isrf_pipeline.interests.model import InterestModel, load_interest_model
from isrf_pipeline.interests.rounds import with_group
from isrf_pipeline.lake import tables
from isrf_pipeline.stages.context import StageContext

if TYPE_CHECKING:
    from pyspark import Broadcast
    from pyspark.sql import DataFrame


@dataclass(frozen=True)
class ScoringInputs:
    """All clients beside the model that they are scored with.

    Attributes
    ----------
    clients
        user_id, codes, weights, days, group_codes, group_values, excluded, today and, with a generator, what it
        generates: one row for every client of the lake; see :func:`isrf_pipeline.interests.ranking.rank_items`.
    model
        Broadcast item model.
    chosen
        What validation chose.
    codes
        item_id and code of the model's items.
    """

    clients: DataFrame
    model: Broadcast[InterestModel]
    chosen: ChosenModel
    codes: DataFrame


def scoring_inputs(
    ctx: StageContext, events: DataFrame, excluded: DataFrame, only_available: bool, day: int | None
) -> ScoringInputs:
    """Prepare every client of the lake from the given events.

    Parameters
    ----------
    ctx
        Gives the stored graphs, features and chosen settings.
    events
        Events that a client may be judged by; clients without any have the interest of who shares their attributes.
    excluded
        user_id, item_id: what a client's list must not hold.
    only_available
        Whether the generator writes available items alone.
    day
        Day since 1970 that scores are for: what sold later is not known. None: the day of each client's last event, as
        befits lists that are measured by the event which followed it.

    Returns
    -------
    ScoringInputs
        The similar clients have been searched by then, and the group's interest stays in memory.
    """
    from pyspark.sql import functions as F

    settings = ctx.settings
    training = training_events(ctx.read(tables.INTERACTIONS), settings.split)
    meaning = item_meaning(ctx)
    chosen = load_model(ctx)
    model = dataclasses.replace(
        load_interest_model(ctx.read(tables.ITEMS), meaning, ctx.read(tables.EDGES), training),
        sequence=chosen.sequence,
    )
    shared = ctx.spark.sparkContext.broadcast(model)
    codes = item_codes(ctx.spark, model.item_ids)

    histories = coded_histories(events, codes).persist()
    learned = coded_histories(training, codes).persist()
    text = ctx.read(tables.USER_FEATURES).where("embedding IS NOT NULL").select("user_id", "embedding")
    graph = settings.user_graph
    profiles = history_profiles(events, meaning, graph.history_decay, text, _text_weight(ctx))
    stored = ctx.read(tables.PROFILES)
    reference = ReferenceClients(
        learned,
        lambda round_: stored.where(F.col("round") == round_).select("user_id", "embedding"),
    )
    group = group_after_rounds(
        histories, profiles, reference, chosen.round, shared, settings, chosen.alignments
    )
    if settings.recommend.client_attributes:
        of_newcomers = attribute_interest(
            ctx.read(tables.CLIENTS),
            learned,
            settings.recommend.client_attributes,
            settings.recommend.candidates,
        )
        group = group.unionByName(of_newcomers.join(group.select("user_id"), "user_id", "left_anti"))
    tonight = F.lit((ctx.run_date - datetime.date(1970, 1, 1)).days)
    no_codes = F.array().cast("array<int>")
    excluded_codes = (
        excluded.join(F.broadcast(codes), "item_id")
        .groupBy("user_id")
        .agg(F.collect_set("code").alias("excluded"))
    )
    everyone = (
        ctx.read(tables.CLIENTS)
        .select("user_id")
        .join(histories, "user_id", "left")
        .join(excluded_codes, "user_id", "left")
        .withColumns(
            {
                "codes": F.coalesce("codes", no_codes),
                "weights": F.coalesce("weights", F.array().cast("array<float>")),
                "excluded": F.coalesce("excluded", no_codes),
                "today": F.lit(day)
                if day is not None
                else F.coalesce(F.try_element_at("days", F.lit(1)), tonight),
            }
        )
    )
    if chosen.generator is not None:
        counted = learned.select("user_id", F.size("codes").alias("learned"))
        everyone = with_generated(
            everyone.join(counted, "user_id", "left").fillna(0, ["learned"]),
            ctx.spark.sparkContext.broadcast(chosen.generator),
            model.available if only_available else None,
        )
    return ScoringInputs(with_group(everyone, group), shared, chosen, codes)


def _text_weight(ctx: StageContext) -> float:
    """Weight of interest texts in the stored profiles; 0 where no client has a text."""
    row = ctx.read(tables.PROFILE_WEIGHTS).where(f"field = '{INTEREST_TEXT}'").first()
    return float(row["weight"]) if row is not None else 0.0
