"""The user graph of each round in the lake: profiles and similar clients are stored, and read back."""

from __future__ import annotations

from typing import TYPE_CHECKING

from isrf_pipeline.graphs.neighbours import similar_clients
from isrf_pipeline.graphs.similarity import packed_of, pairs_of
from isrf_pipeline.lake import tables
from isrf_pipeline.stages.context import StageContext

if TYPE_CHECKING:
    from pyspark.sql import DataFrame


def store_round_graph(ctx: StageContext, profiles: DataFrame, round_: int) -> DataFrame:
    """Store a round's profiles and its user-similarity graph.

    Parameters
    ----------
    ctx
        The stage optimize.
    profiles
        user_id, embedding of everybody in this round.
    round_
        Number of the round, from 1.

    Returns
    -------
    DataFrame
        The neighbours, one row a client: src, dst (array<string>), similarity (array<float>); checkpointed.
    """
    from pyspark.sql import functions as F

    graph = ctx.settings.user_graph
    # The first round also removes what an earlier run with more rounds may have left.
    where = "round >= 1" if round_ == 1 else f"round = {round_}"
    ctx.counters.rows_out += ctx.lake.overwrite(
        tables.PROFILES, profiles.withColumn("round", F.lit(round_)), where, tables.ROUND_NOTE
    )
    stored = ctx.lake.read(tables.PROFILES).where(f"round = {round_}").select("user_id", "embedding")
    # A checkpoint and not the cache: a write empties the cache of all that was read from the table, and the next
    # round would search this one once more.
    neighbours = similar_clients(stored, stored, graph.neighbours, graph).localCheckpoint()
    edges = pairs_of(neighbours).withColumn("round", F.lit(round_))
    ctx.counters.rows_out += ctx.lake.overwrite(tables.SIMILARITY, edges, where, tables.ROUND_NOTE)
    return neighbours


def stored_neighbours(ctx: StageContext, round_: int, clients: DataFrame | None = None) -> DataFrame:
    """Neighbours of a stored round as :func:`store_round_graph` returns them, of all clients or of a few."""
    from pyspark.sql import functions as F

    edges = ctx.read(tables.SIMILARITY).where(F.col("round") == round_)
    if clients is not None:
        edges = of_clients(clients, edges, "src")
    return packed_of(edges).localCheckpoint()


def of_clients(clients: DataFrame, rows: DataFrame, key: str = "user_id") -> DataFrame:
    """Rows whose column ``key`` names one of a few clients."""
    from pyspark.sql import functions as F

    return rows.join(F.broadcast(clients.select(F.col("user_id").alias(key))), key, "left_semi")
