"""What similar clients add: the implicit interest, as the user-similarity graph of the night's round has it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from isrf_pipeline.lake import Lake, tables

if TYPE_CHECKING:
    from pyspark.sql import Row

#: Items of the group that are named.
_ITEMS = 5


@dataclass(frozen=True)
class Group:
    """The clients who are most similar to one client.

    Attributes
    ----------
    size
        How many there are.
    nearest, farthest
        Cosine of the most and the least similar one's profile.
    items
        item_id and clients (int: those of the group who chose it), most first: what the client has not chosen.
    """

    size: int
    nearest: float
    farthest: float
    items: list[tuple[str, int]]


def group_of(lake: Lake, user_id: str, round_: int) -> Group | None:
    """The client's group in one round of optimization; None where the graph does not know the client.

    Nobody of the group is named: who explains one client's list should not learn of others.

    Parameters
    ----------
    lake
        A lake; without a user graph nobody has a group.
    user_id
        The client.
    round_
        Round whose graph the night's lists come from.
    """
    from pyspark.sql import functions as F

    if not lake.exists(tables.SIMILARITY):
        return None
    similar = (
        lake.read(tables.SIMILARITY)
        .where((F.col("src") == user_id) & (F.col("round") == round_))
        .select(F.col("dst").alias("user_id"), "similarity")
        .persist()
    )
    found = similar.agg(F.count("*").alias("size"), F.max("similarity"), F.min("similarity")).first()
    if found is None or not found["size"]:
        return None
    events = lake.read(tables.INTERACTIONS).select("user_id", "item_id")
    own = events.where(F.col("user_id") == user_id).select("item_id")
    theirs = events.join(F.broadcast(similar), "user_id", "left_semi").join(own, "item_id", "left_anti")
    counted = theirs.groupBy("item_id").agg(F.countDistinct("user_id").alias("clients"))
    items = counted.orderBy(F.desc("clients"), "item_id").limit(_ITEMS).collect()
    similar.unpersist()
    return Group(found[0], found[1], found[2], [(row["item_id"], row["clients"]) for row in items])


def model_lines(row: Row | None) -> list[str]:
    """How the night put both interests together, out of its row of interests.model."""
    if row is None:
        return ["how scores were made: the night's model is not kept any more"]
    own = {
        "what follows what": row["followed_weight"],
        "what is alike in meaning": row["semantic_weight"],
        "the sequence model": row["sequence_weight"],
        "the generator": row["generator_weight"],
    }
    others = {
        "similar clients": row["implicit_weight"],
        "similar clients' items through the graph": row["feedback_weight"],
    }
    named = {**own, **others}
    fusion = ", ".join(f"{name} {weight:g}" for name, weight in named.items() if weight)
    ordered = "a learned ranker orders them" if row["ranked_by"] == "ranker" else "ordered by that sum"
    return [
        f"how scores were made: round {row['round']} of the user graph; candidates by the sum of {fusion}; {ordered}"
    ]
