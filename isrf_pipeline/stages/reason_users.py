"""Stage reason_users: what each client is interested in, from training events only."""

from __future__ import annotations

from typing import TYPE_CHECKING

from isrf_pipeline.embedding.encoder import embed_texts
from isrf_pipeline.evaluation.split import training_events
from isrf_pipeline.lake import tables
from isrf_pipeline.logs import log_event
from isrf_pipeline.reasoning.backends import BackendFactory, backend_of_this_process
from isrf_pipeline.reasoning.prototypes import spread_to_members
from isrf_pipeline.reasoning.tiers import client_subjects
from isrf_pipeline.reasoning.users import (
    composed_texts,
    interests,
    item_lines,
    newest_choices,
)
from isrf_pipeline.reasoning.waves import ENGINE_ROLE, reason_over
from isrf_pipeline.reasoning.workers import end_workers
from isrf_pipeline.stages.context import Stage, StageContext

if TYPE_CHECKING:
    from pyspark.sql import DataFrame


def run(ctx: StageContext, backend: BackendFactory = backend_of_this_process) -> None:
    """Ask the model for what is missing, compose the rest, embed, and write one row for every client."""
    clients = ctx.read(tables.CLIENTS)
    settings = ctx.settings
    if settings.reasoning.backend == "none":
        ctx.write(tables.USER_FEATURES, _history_only(clients))
        return
    training = training_events(ctx.read(tables.INTERACTIONS), settings.split)
    lines = item_lines(ctx.read(tables.ITEMS), ctx.read(tables.ITEM_FEATURES)).persist()
    choices = newest_choices(training, settings.reasoning.users.newest_items).persist()
    answered = None
    try:
        if settings.reasoning.users.enabled:
            answered = _answered(ctx, clients, training, choices, lines, backend)
            end_workers(ctx.spark, ENGINE_ROLE, settings.reasoning.workers)
        known = _interest_texts(clients, composed_texts(choices, lines), answered).persist()
        embedded = embed_texts(known, "user_id", "interest", settings.embedding, ctx)
        ctx.write(tables.USER_FEATURES, known.join(embedded, "user_id"))
        known.unpersist()
    finally:
        lines.unpersist()
        choices.unpersist()


def _answered(
    ctx: StageContext,
    clients: DataFrame,
    training: DataFrame,
    choices: DataFrame,
    lines: DataFrame,
    backend: BackendFactory,
) -> DataFrame:
    """What the model says of clients by the configured tier: user_id, interest, origin, reason."""
    from pyspark.sql import functions as F

    asked = client_subjects(ctx, training, choices, lines)
    if asked is None:
        log_event("no_prototypes", reason="no night has segments yet; the first user graph brings them")
        return clients.select(
            "user_id",
            F.lit(None).cast("string").alias("interest"),
            F.lit("no segments yet: prototypes come with the next night").alias("reason"),
            F.lit("prototype").alias("origin"),
        )
    limit = ctx.settings.reasoning.users.max_clients
    answered = interests(reason_over(ctx, "user", asked.subjects, limit, backend, asked.only_changed))
    if asked.segments is None:
        return answered.withColumn("origin", F.lit("llm"))
    return spread_to_members(answered, asked.segments).withColumn("origin", F.lit("prototype"))


def _history_only(clients: DataFrame) -> DataFrame:
    from pyspark.sql import functions as F

    return clients.select(
        "user_id",
        F.lit(None).cast("string").alias("interest"),
        F.lit("history").alias("origin"),
        F.lit("reasoning is off (reasoning.backend is none)").alias("reason"),
        F.lit(None).cast("array<float>").alias("embedding"),
    )


def _interest_texts(clients: DataFrame, composed: DataFrame, answered: DataFrame | None) -> DataFrame:
    """One row for every client: user_id, interest, origin, reason."""
    from pyspark.sql import functions as F

    rows = clients.select("user_id").join(composed, "user_id", "left")
    if answered is None:
        rows = rows.withColumns(
            {
                "interest": F.lit(None).cast("string"),
                "origin": F.lit(None).cast("string"),
                "reason": F.lit("reasoning over clients is off"),
            }
        )
    else:
        rows = rows.join(answered, "user_id", "left")
    by_model = F.col("interest").isNotNull()
    return rows.select(
        "user_id",
        F.coalesce("interest", "text").alias("interest"),
        F.when(by_model, F.col("origin"))
        .when(F.col("text").isNotNull(), "composed")
        .otherwise("history")
        .alias("origin"),
        F.when(~by_model, F.coalesce("reason", F.lit("no training events"))).alias("reason"),
    )


STAGE = Stage(
    "reason_users",
    (
        tables.CLIENTS,
        tables.INTERACTIONS,
        tables.ITEMS,
        tables.ITEM_FEATURES,
        tables.ANSWERS,
        tables.EMBEDDINGS,
    ),
    (tables.ANSWERS, tables.EMBEDDINGS, tables.USER_FEATURES),
    run,
)
