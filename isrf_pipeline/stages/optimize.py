"""Stage optimize: rounds in which explicit and implicit interest refine each other; validation chooses the fusion."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np

from isrf_pipeline.config import Settings
from isrf_pipeline.embedding.fields import FIELD_COLUMNS
from isrf_pipeline.evaluation.split import training_events, validation_events
from isrf_pipeline.graphs.followed import followed_graph
from isrf_pipeline.graphs.similarity import top_similar_packed
from isrf_pipeline.interests.chosen import ChosenModel, store_model
from isrf_pipeline.interests.earlier import earlier_histories, earlier_knowledge, earlier_model
from isrf_pipeline.interests.histories import coded_histories, item_codes
from isrf_pipeline.interests.implicit import group_interest
from isrf_pipeline.interests.inputs import profiles_in_round
from isrf_pipeline.interests.model import InterestModel, load_interest_model
from isrf_pipeline.interests.propagation import FusionWeights
from isrf_pipeline.interests.ranker_training import reranked_ndcg, train_ranker
from isrf_pipeline.interests.ranking import held_out_ndcg
from isrf_pipeline.interests.reranking import Reranking
from isrf_pipeline.interests.rounds import Guidance, mean_alignment, mean_neighbour_overlap, with_group
from isrf_pipeline.lake import tables
from isrf_pipeline.logs import log_event
from isrf_pipeline.ranker.model import Ranker
from isrf_pipeline.sequences.fitting import fit_sequences
from isrf_pipeline.sequences.model import SequenceModel
from isrf_pipeline.stages.context import Stage, StageContext

if TYPE_CHECKING:
    from pyspark.sql import DataFrame


def run(ctx: StageContext) -> None:
    """Run the rounds, store each round's graph, and write the settings that validation chose."""
    from pyspark.sql import functions as F

    settings = ctx.settings
    interactions = ctx.read(tables.INTERACTIONS)
    training = training_events(interactions, settings.split)
    model = load_interest_model(
        ctx.read(tables.ITEMS), ctx.read(tables.ITEM_FEATURES), ctx.read(tables.EDGES), training
    )
    codes = item_codes(ctx.spark, model.item_ids)
    histories = coded_histories(training, codes).persist()
    sequences = _train_sequences(ctx, histories, model)
    if sequences is not None:
        model = dataclasses.replace(model, sequence=sequences[1])
    shared = ctx.spark.sparkContext.broadcast(model)
    targets = (
        validation_events(interactions, settings.split)
        .select("user_id", "item_id")
        .distinct()
        .join(F.broadcast(codes), "item_id")
        .select("user_id", F.col("code").alias("target"))
        .persist()
    )
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

    value, chosen_round, weights = choose(results, settings)
    ranker = None
    if settings.ranker.enabled and measurable:
        earlier = sequences[0] if sequences is not None else None
        ranker, found = _trained_ranker(ctx, histories, model, earlier, chosen_round, weights)
        metrics |= {(f"ranker.{name}", "all"): number for name, number in found.items()}
        if ranker is not None:
            reranking = Reranking(ranker, settings.ranker, settings.optimize.scorers)
            reranked = reranked_ndcg(measured[chosen_round], shared, weights, reranking, settings)
            metrics["ranker.validation_ndcg@10", "all"] = reranked
            if reranked > value * (1 + settings.ranker.min_gain):
                value = reranked
            else:
                ranker = None
                log_event("ranker_left_out", fusion=value, ranker=reranked)
    chosen = ChosenModel(chosen_round, weights, model.sequence, ranker)
    store_model(ctx, chosen, value)
    ctx.write_metrics("optimize", metrics)
    shared.unpersist()


def _train_sequences(
    ctx: StageContext, histories: DataFrame, model: InterestModel
) -> tuple[SequenceModel, SequenceModel] | None:
    """The sequence model before each client's last training event and after all; None where it takes no part."""
    if "sequence" not in ctx.settings.optimize.scorers or histories.isEmpty():
        return None
    meaning = ctx.spark.sparkContext.broadcast(model.embeddings)
    trained = fit_sequences(histories, meaning, ctx.settings.sequence)
    meaning.unpersist()
    return trained


def _trained_ranker(
    ctx: StageContext,
    histories: DataFrame,
    model: InterestModel,
    sequence: SequenceModel | None,
    chosen_round: int,
    weights: FusionWeights,
) -> tuple[Ranker | None, dict[str, float]]:
    before = earlier_histories(histories).persist()
    features = ctx.read(tables.ITEM_FEATURES).select("item_id", *FIELD_COLUMNS.values()).toArrow()
    # By the model's codes: features may still hold an article that the catalogue has lost since.
    rows = {item: row for row, item in enumerate(features.column("item_id").to_pylist())}
    order = np.array([rows[item] for item in model.item_ids.tolist()], np.int64)
    followed = followed_graph(before, features, order, ctx.settings)
    shared = ctx.spark.sparkContext.broadcast(earlier_model(model, before, followed, sequence))
    earlier = earlier_knowledge(before, shared, chosen_round, ctx.settings)
    trained = train_ranker(earlier.inputs, shared, weights, ctx.settings)
    shared.unpersist()
    return trained


def fusion_options(settings: Settings) -> list[FusionWeights]:
    """All fusion weights among which validation chooses, plainest first."""
    optimize = settings.optimize

    def tried(scorer: str, weights: Iterable[float]) -> list[float]:
        return sorted(weights) if scorer in optimize.scorers else [0.0]

    return [
        FusionWeights(semantic, implicit, feedback, sequence, followed)
        for implicit, semantic, feedback, sequence, followed in itertools.product(
            tried("group", optimize.implicit_weights),
            tried("semantic", optimize.semantic_weights),
            tried("group", {0.0, optimize.feedback}),
            tried("sequence", optimize.sequence_weights),
            tried("followed", [1.0]),
        )
    ]


def choose(
    results: list[tuple[float, int, FusionWeights]], settings: Settings
) -> tuple[float, int, FusionWeights]:
    """Choose a round: a later one takes the place of an earlier one where validation is better by ``min_round_gain``.

    Each round costs a search among all clients in every night, and a difference of a few thousandths is noise of the
    validation sample. Without validation events the last round and the middle of the configured weights are taken;
    their value is 0.

    Parameters
    ----------
    results
        Validation NDCG, round and best weights of each round, in the order of rounds.
    settings
        The gain that is asked for, and what to take without results.
    """
    if results:
        chosen = results[0]
        for result in results[1:]:
            if result[0] > chosen[0] * (1 + settings.optimize.min_round_gain):
                chosen = result
        return chosen
    options = fusion_options(settings)
    return 0.0, settings.optimize.rounds, options[len(options) // 2]


def out_of_patience(results: list[tuple[float, int, FusionWeights]], settings: Settings) -> bool:
    """Whether the last ``patience`` rounds brought no gain over the one that :func:`choose` takes."""
    return bool(results) and results[-1][1] - choose(results, settings)[1] >= settings.optimize.patience


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


STAGE = Stage(
    "optimize",
    reads=(
        tables.INTERACTIONS,
        tables.ITEMS,
        tables.ITEM_FEATURES,
        tables.EDGES,
        tables.PROFILES,
        tables.SIMILARITY,
    ),
    writes=(tables.PROFILES, tables.SIMILARITY, tables.INTEREST_MODEL, tables.INTEREST_PARAMETERS),
    run=run,
)
