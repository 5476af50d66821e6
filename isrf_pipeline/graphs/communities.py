"""Communities of the user-similarity graph: clients who share an interest none of them may have named.

Two levels. First, weighted label propagation over GraphFrames' ``aggregateMessages`` groups clients into small tight
communities (the built-in version takes no weights, and its ties follow the order of a map). Then those communities,
few enough for the driver, are joined where that raises modularity, as in the second level of the Louvain method
(Blondel et al., "Fast unfolding of communities in large networks", 2008), and those still too small are joined to
the neighbour they are tied to most strongly.

Weights are integers and ties go to the smaller label, so that neither row order nor partitioning decides.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from isrf_pipeline.config.settings import UserGraphSettings
from isrf_pipeline.graphs.modularity import join_communities
from isrf_pipeline.lake.scratch import scratch_folder, stored

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

#: Similarities become integers on this scale, whose sums do not depend on their order.
_WEIGHT_SCALE = 10_000
#: Propagation ends early when fewer than this share of clients changed their label in a round.
_SETTLED_SHARE = 0.002


def find_communities(similarity: DataFrame, settings: UserGraphSettings) -> DataFrame:
    """Find the communities of the user-similarity graph.

    Parameters
    ----------
    similarity
        Columns src, dst, similarity and rank (1 is the most similar). Must give the same rows whenever it is
        evaluated: write it first and read it back.
    settings
        How many neighbours count, how many rounds, smallest community and resolution.

    Returns
    -------
    DataFrame
        user_id, community (16 hexadecimal digits: the smallest hash of its members) and affinity (share of the
        client's strongest neighbours that are in the community); one row a client that has a neighbour.
    """
    from pyspark.sql import functions as F

    nearest = similarity.where(F.col("rank") <= settings.community_neighbours).select(
        "src", "dst", "similarity"
    )
    edges = community_edges(nearest).localCheckpoint(eager=True)
    labels = propagate_labels(edges, settings.community_rounds)
    joined = _join_labels(labels, edges, settings)
    edges.unpersist()
    keyed = joined.groupBy("label").agg(F.min(F.xxhash64("id")).alias("key"))
    members = joined.join(keyed, "label").select(
        F.col("id").alias("user_id"), F.lower(F.lpad(F.hex("key"), 16, "0")).alias("community")
    )
    return _with_affinity(members, nearest)


def community_edges(nearest: DataFrame) -> DataFrame:
    """The undirected graph that communities are found on, both directions given.

    Parameters
    ----------
    nearest
        Columns src, dst and similarity: each client's strongest neighbours.

    Returns
    -------
    DataFrame
        src, dst and weight (bigint); neighbours that chose each other weigh twice.
    """
    from pyspark.sql import functions as F

    weight = F.round(F.greatest(F.col("similarity"), F.lit(0.0)).cast("double") * _WEIGHT_SCALE).cast(
        "bigint"
    )
    one_way = nearest.where(F.col("src") != F.col("dst")).select("src", "dst", weight.alias("weight"))
    back = one_way.select(F.col("dst").alias("src"), F.col("src").alias("dst"), "weight")
    return (
        one_way.unionByName(back)
        .groupBy("src", "dst")
        .agg(F.sum("weight").alias("weight"))
        .where("weight > 0")
    )


def propagate_labels(edges: DataFrame, rounds: int) -> DataFrame:
    """Weighted label propagation.

    Every client starts with a label of its own. In each round half of the clients, another half by hash each time,
    take the label with the greatest total weight among their neighbours; two halves that wait for each other never
    swap labels for ever, as clients that all move at once do.

    Parameters
    ----------
    edges
        Columns src, dst and weight (bigint), both directions given.
    rounds
        Most rounds; each lets every client move once.

    Returns
    -------
    DataFrame
        id and label (bigint), checkpointed.
    """
    from graphframes import GraphFrame
    from graphframes.lib import AggregateMessages as AM
    from pyspark.sql import functions as F

    with scratch_folder(edges.sparkSession, "communities") as folder:
        own = edges.select(F.col("src").alias("id")).distinct().withColumn("label", F.xxhash64("id"))
        labels = stored(own, f"{folder}/0")
        n_clients = labels.count()
        for half_round in range(2 * rounds):
            votes = GraphFrame(labels, edges).aggregateMessages(
                F.collect_list(AM.msg).alias("votes"), sendToDst=F.struct(AM.src["label"], AM.edge["weight"])
            )
            turn = F.pmod(F.xxhash64("id", F.lit(half_round // 2)), F.lit(2)) == half_round % 2
            moved = labels.join(votes, "id", "left").select(
                "id",
                F.when(turn & F.col("votes").isNotNull(), _winner(F.col("votes")))
                .otherwise(F.col("label"))
                .alias("label"),
                F.col("label").alias("before"),
            )
            moved = stored(moved, f"{folder}/{half_round + 1}")
            changed = moved.where("label != before").count()
            labels = moved.select("id", "label")
            if changed < _SETTLED_SHARE * n_clients:
                break
        return labels.localCheckpoint(eager=True)


def _winner(votes: Column) -> Column:
    """Label with the greatest total weight, the smaller one on a tie."""
    from pyspark.sql import functions as F

    labels = F.array_distinct(F.transform(votes, lambda vote: vote["label"]))
    totals = F.transform(
        labels,
        lambda label: F.struct(
            F.aggregate(
                votes,
                F.lit(0).cast("bigint"),
                lambda total, vote: (
                    total + F.when(vote["label"] == label, vote["weight"]).otherwise(F.lit(0))
                ),
            ).alias("total"),
            (-label).alias("label"),
        ),
    )
    return -F.array_max(totals)["label"]


def _join_labels(labels: DataFrame, edges: DataFrame, settings: UserGraphSettings) -> DataFrame:
    """Replace labels by those of the joined communities; only community-sized tables reach the driver."""
    from pyspark.sql import functions as F

    sizes = labels.groupBy("label").count().orderBy("label").toArrow()
    ties = (
        edges.join(labels.select(F.col("id").alias("src"), F.col("label").alias("a")), "src")
        .join(labels.select(F.col("id").alias("dst"), F.col("label").alias("b")), "dst")
        .where("a <= b")
        .groupBy("a", "b")
        .agg(F.sum("weight").alias("weight"))
        # Both directions of an edge are in the table, so within a community each was counted twice.
        .withColumn(
            "weight", F.when(F.col("a") == F.col("b"), F.expr("weight div 2")).otherwise(F.col("weight"))
        )
        .orderBy("a", "b")
        .toArrow()
    )
    joined = join_communities(
        dict(zip(sizes["label"].to_pylist(), sizes["count"].to_pylist(), strict=True)),
        list(zip(ties["a"].to_pylist(), ties["b"].to_pylist(), ties["weight"].to_pylist(), strict=True)),
        min_size=settings.min_segment_size,
        resolution=settings.community_resolution,
    )
    mapping = labels.sparkSession.createDataFrame(list(joined.items()), "label bigint, joined bigint")
    return labels.join(F.broadcast(mapping), "label").select("id", F.col("joined").alias("label"))


def _with_affinity(members: DataFrame, nearest: DataFrame) -> DataFrame:
    from pyspark.sql import functions as F

    own = members.select(F.col("user_id").alias("src"), F.col("community").alias("own"))
    other = members.select(F.col("user_id").alias("dst"), F.col("community").alias("other"))
    shares = (
        nearest.join(own, "src")
        .join(other, "dst")
        .groupBy("src")
        .agg(F.avg((F.col("own") == F.col("other")).cast("double")).alias("affinity"))
    )
    return members.join(shares, members["user_id"] == shares["src"], "left").select(
        "user_id", "community", F.coalesce("affinity", F.lit(0.0)).alias("affinity")
    )
