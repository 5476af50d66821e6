"""Degree caps: nobody is the neighbour of more clients than a limit, however central his profile lies."""

from __future__ import annotations

from typing import TYPE_CHECKING

from isrf_pipeline.graphs.similarity import packed_of, pairs_of

if TYPE_CHECKING:
    from pyspark.sql import DataFrame


def with_capped_hubs(neighbours: DataFrame, most: int) -> DataFrame:
    """Take each client out of the lists of all but the ``most`` clients that are most similar to him.

    In many dimensions a few points are among the nearest of very many others (Radovanović et al., "Hubs in Space",
    JMLR 2010): without a cap their taste is passed on to everybody.

    Parameters
    ----------
    neighbours
        src, dst (array<string>) and similarity (array<float>), strongest first.
    most
        Lists that one client may stand in.

    Returns
    -------
    DataFrame
        As ``neighbours``, each list in its order, empty where nobody is left. Who keeps a client among equally
        similar ones is decided by a hash of their identifiers.
    """
    from pyspark.sql import Window
    from pyspark.sql import functions as F

    followers = Window.partitionBy("dst").orderBy(F.desc("similarity"), F.xxhash64("src"), "src")
    kept = packed_of(
        pairs_of(neighbours)
        .withColumn("follower", F.row_number().over(followers))
        .where(F.col("follower") <= most)
    )
    return (
        neighbours.select("src")
        .join(kept, "src", "left")
        .select(
            "src",
            F.coalesce("dst", F.array().cast("array<string>")).alias("dst"),
            F.coalesce("similarity", F.array().cast("array<float>")).alias("similarity"),
        )
    )
