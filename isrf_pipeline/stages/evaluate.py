"""Stage evaluate: accuracy on held-out events and what lists show, beside the peers; then gates, and publication."""

from __future__ import annotations

import functools

from isrf_pipeline.errors import QualityGateError
from isrf_pipeline.evaluation.beyond_accuracy import beyond_accuracy
from isrf_pipeline.evaluation.memory import PeakMemory
from isrf_pipeline.evaluation.metrics import accuracy
from isrf_pipeline.evaluation.peers import PEERS, latest_of_pairs, require_packages
from isrf_pipeline.evaluation.slices import client_slices, slice_sizes
from isrf_pipeline.evaluation.split import (
    events_before_test,
    listing_day,
    test_events,
    training_events,
)
from isrf_pipeline.gates.measuring import measure_gates
from isrf_pipeline.gates.stopping import require_gates
from isrf_pipeline.interests.lists import ranked_lists
from isrf_pipeline.lake import tables
from isrf_pipeline.publication.publishing import publish
from isrf_pipeline.report.stopped import write_stopped_report
from isrf_pipeline.rules.clients import client_rules
from isrf_pipeline.rules.measuring import measured_rules
from isrf_pipeline.stages.context import Stage, StageContext


def run(ctx: StageContext) -> None:
    """Measure and record; publish the night where every gate holds, and stop the run where one does not."""
    from pyspark.sql import functions as F

    settings = ctx.settings
    require_packages(settings.evaluation.peers)
    delivered = ctx.read(tables.RECOMMENDATIONS).where(F.col("run_date") == F.lit(ctx.run_date))
    values: dict[tuple[str, str], float] = {}

    interactions = ctx.read(tables.INTERACTIONS)
    held_out = test_events(interactions, settings.split).select("user_id", "item_id").distinct().persist()
    measured = held_out.count()
    values["clients_measured", "all"] = measured
    if measured:
        before = events_before_test(interactions, settings.split)
        known = latest_of_pairs(before).persist()
        # A benchmark delivers the very lists that are measured; a night's own lists know the test events. What is
        # measured is the model: business rules are no part of it.
        same_input, rules = settings.recommend.input == "before_test", settings.rules
        measured_lists = functools.partial(
            ranked_lists,
            ctx,
            before,
            known,
            only_available=False,
            day=listing_day(interactions, settings.split, "test"),
        )
        lists = delivered if same_input and not rules.active else measured_lists()
        systems = {"isrf": lists.persist()}
        asked = held_out.select("user_id")
        training = latest_of_pairs(training_events(interactions, settings.split)).persist()
        for name in settings.evaluation.peers:
            with PeakMemory() as memory:
                peer = PEERS[name](training, known, asked, settings.recommend.top_n, settings.evaluation)
            values[f"{name}.peak_rss_mb", "all"] = memory.peak_mb
            for step, seconds in peer.wall_seconds.items():
                values[f"{name}.wall_seconds", step] = seconds
            systems[name] = peer.lists
        judged = client_slices(held_out, known, training, ctx.read(tables.ITEMS)).persist()
        values |= {("clients_measured", slice_): size for slice_, size in slice_sizes(judged).items()}
        values |= accuracy(systems, judged)
        features = ctx.read(tables.ITEM_FEATURES)
        values |= beyond_accuracy(systems, asked, training, features)
        if rules.active and rules.measured:
            ruled = delivered if same_input else measured_lists(rules=client_rules(ctx, before))
            effect = measured_rules(ruled.persist(), lists, judged, training, features)
            ctx.write_metrics("rules.measured", effect)

    clients = max(ctx.read(tables.CLIENTS).count(), 1)
    values["coverage_clients", "all"] = delivered.select("user_id").distinct().count() / clients
    items = ctx.read(tables.ITEMS).where("available").count()
    values["coverage_items", "all"] = delivered.select("item_id").distinct().count() / max(items, 1)
    ctx.write_metrics("evaluate", values)
    try:
        require_gates(ctx, measure_gates(ctx, delivered))
    except QualityGateError:
        write_stopped_report(ctx)
        raise
    publish(ctx)


STAGE = Stage(
    "evaluate",
    reads=(
        tables.RECOMMENDATIONS,
        tables.CLIENTS,
        tables.INTERACTIONS,
        tables.ITEMS,
        tables.ITEM_FEATURES,
        tables.USER_FEATURES,
        tables.EDGES,
        tables.PROFILE_WEIGHTS,
        tables.PROFILES,
        tables.INTEREST_MODEL,
        tables.INTEREST_PARAMETERS,
        tables.ANSWERS,
    ),
    writes=(tables.METRICS, tables.GATES, *tables.DELIVERED, tables.PUBLICATIONS),
    run=run,
)
