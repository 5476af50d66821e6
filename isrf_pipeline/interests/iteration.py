"""Runs the rounds of optimization on the lake: each one's user graph is stored, measured, and feeds the next."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from isrf_pipeline.config import Settings
from isrf_pipeline.graphs.similarity import top_similar_packed
from isrf_pipeline.interests.implicit import group_interest
from isrf_pipeline.interests.inputs import profiles_in_round
from isrf_pipeline.interests.model import InterestModel
from isrf_pipeline.interests.propagation import FusionWeights
from isrf_pipeline.interests.ranking import held_out_ndcg
from isrf_pipeline.interests.rounds import Guidance, mean_alignment, mean_neighbour_overlap, with_group
from isrf_pipeline.interests.selection import fusion_options, out_of_patience
from isrf_pipeline.lake import tables
from isrf_pipeline.logs import log_event
from isrf_pipeline.stages.context import StageContext

if TYPE_CHECKING:
    from pyspark import Broadcast
    from pyspark.sql import DataFrame


@dataclass(frozen=True)
class Iteration:
    """What the rounds led to.

    Attributes
    ----------
    results
        Validation NDCG@10, round and best weights of each round, in the order of rounds; empty where no client has a
        validation event.
    judged
        By round: inputs of the clients who judge it, with their held-out item as target.
    metrics
        (metric, slice) to value, for ops.metrics.
    """

    results: list[tuple[float, int, FusionWeights]]
    judged: dict[int, DataFrame]
    metrics: dict[tuple[str, str], float]


def iterate(
    ctx: StageContext,
    histories: DataFrame,
    targets: DataFrame,
    model: InterestModel,
    shared: Broadcast[InterestModel],
) -> Iteration:
    """Run the rounds until validation does not reward them any more, and store each round's user graph.

    Parameters
    ----------
    ctx
        The stage optimize; it has profiles and the user graph of round 0.
    histories
        user_id, codes, weights, days of all clients; training events only.
    targets
        user_id and target (int: code of the validation item), of the clients who have one.
    model, shared
        The item model, and the same broadcast.
    """
    from pyspark.sql import functions as F

    settings = ctx.settings
    measurable = not targets.isEmpty()
    # Clients on whom rounds are measured; few whatever the lake, so that they may be broadcast.
    judges = _sample((targets if measurable else histories).select("user_id").distinct(), settings).persist()
    # Checkpoints and not the cache: a round that writes a table empties the cache of all that was read from it, and
    # would search the round before once more.
    neighbours = _packed_neighbours(ctx.read(tables.SIMILARITY), judges).localCheckpoint()
    plain_profiles = ctx.read(tables.PROFILES).where("round = 0").select("user_id", "embedding")
    guidance = Guidance(settings.interaction_graph, settings.optimize)
    options = fusion_options(settings)

    fed_back: DataFrame | None = None
    measured: dict[int, DataFrame] = {}
    metrics: dict[tuple[str, str], float] = {}
    results: list[tuple[float, int, FusionWeights]] = []
    for round_ in range(settings.optimize.rounds + 1):
        if round_ > 0:
            before = neighbours
            if round_ > 1:
                # Feedback starts with the group of round 1: round 0 is the graph without any guidance.
                fed_back = _group(before, histories, model, settings)
            profiles = profiles_in_round(histories, plain_profiles, fed_back, round_, shared, settings)
            neighbours = _rebuild_user_graph(ctx, profiles, round_)
            # Broadcast, so that nobody else's neighbours are shuffled for the few that are measured.
            metrics["round.neighbour_overlap", f"round={round_}"] = mean_neighbour_overlap(
                F.broadcast(_of(judges, neighbours, "src")), before
            )
        # Everybody's group interest is needed only where a next round is fed with it.
        group = _group(_of(judges, neighbours, "src"), histories, model, settings)
        inputs = (
            with_group(_of(judges, histories), group)
            .withColumns({"excluded": F.col("codes"), "today": F.col("days")[0]})
            .persist()
        )
        metrics["round.alignment", f"round={round_}"] = mean_alignment(inputs, shared, guidance)
        if measurable:
            measured[round_] = inputs.join(targets, "user_id").localCheckpoint()
            values = held_out_ndcg(
                measured[round_],
                shared,
                options,
                settings.interaction_graph,
                settings.optimize,
            )
            best = max(range(len(options)), key=lambda k: values[k])
            results.append((values[best], round_, options[best]))
            metrics["round.validation_ndcg@10", f"round={round_}"] = values[best]
            without_group = [
                v for v, o in zip(values, options, strict=True) if o.implicit == 0 and o.feedback == 0
            ]
            if without_group:
                metrics["round.validation_ndcg@10_explicit_only", f"round={round_}"] = max(without_group)
        inputs.unpersist()
        log_event(
            "round",
            round=round_,
            **{k[0].split(".", 1)[1]: v for k, v in metrics.items() if k[1] == f"round={round_}"},
        )
        if out_of_patience(results, settings):
            break
    return Iteration(results, measured, metrics)


def _group(
    neighbours: DataFrame, histories: DataFrame, model: InterestModel, settings: Settings
) -> DataFrame:
    return group_interest(
        neighbours,
        histories,
        model.popularity,
        settings.user_graph.sharpness,
        settings.recommend.candidates,
    )


def _packed_neighbours(similarity: DataFrame, clients: DataFrame) -> DataFrame:
    """Neighbours of some clients in round 0, one row a client, most similar first: src, dst, similarity."""
    from pyspark.sql import functions as F

    return (
        _of(clients, similarity.where("round = 0"), "src")
        .groupBy("src")
        .agg(F.sort_array(F.collect_list(F.struct("rank", "dst", "similarity"))).alias("n"))
        .select("src", F.col("n.dst").alias("dst"), F.col("n.similarity").alias("similarity"))
    )


def _sample(clients: DataFrame, settings: Settings) -> DataFrame:
    """At most ``validation_clients`` clients, the same ones whatever else is asked of them."""
    from pyspark.sql import functions as F

    return clients.orderBy(F.xxhash64("user_id"), "user_id").limit(settings.optimize.validation_clients)


def _of(clients: DataFrame, rows: DataFrame, key: str = "user_id") -> DataFrame:
    """Rows whose column ``key`` names one of a few clients."""
    from pyspark.sql import functions as F

    return rows.join(F.broadcast(clients.select(F.col("user_id").alias(key))), key, "left_semi")


def _rebuild_user_graph(ctx: StageContext, profiles: DataFrame, round_: int) -> DataFrame:
    """Store a round's profiles and its user-similarity graph; return the neighbours, one row a client."""
    from pyspark.sql import functions as F

    graph = ctx.settings.user_graph
    # The first round also removes what an earlier run with more rounds may have left.
    where = "round >= 1" if round_ == 1 else f"round = {round_}"
    ctx.counters.rows_out += ctx.lake.overwrite(
        tables.PROFILES, profiles.withColumn("round", F.lit(round_)), where
    )
    stored = ctx.lake.read(tables.PROFILES).where(f"round = {round_}").select("user_id", "embedding")
    neighbours = top_similar_packed(stored, stored, graph.neighbours, graph.block_users).localCheckpoint()
    edges = neighbours.select(
        "src", F.posexplode(F.arrays_zip("dst", "similarity")).alias("place", "edge")
    ).select(
        "src",
        F.col("edge.dst").alias("dst"),
        F.lit(round_).alias("round"),
        F.col("edge.similarity").alias("similarity"),
        (F.col("place") + 1).alias("rank"),
    )
    ctx.counters.rows_out += ctx.lake.overwrite(tables.SIMILARITY, edges, where)
    return neighbours
