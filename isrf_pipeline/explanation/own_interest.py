"""What a client's own events say: the explicit interest, as far as the graph and the language model put it in words."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from isrf_pipeline.lake import Lake, tables

if TYPE_CHECKING:
    from pyspark.sql import Row

#: Names shown of each kind of attribute.
_NAMES = 5
_KINDS = {"of_house": "houses", "in_category": "categories", "has_tag": "tags"}


def own_interest_lines(lake: Lake, user_id: str) -> list[str]:
    """Lines on the interest text of a client and on the attributes that the semantic interaction graph leads to.

    An attribute's strength is the sum over the client's items of the weights of both edges, client to item and item to
    attribute; it is shown as a share of the strongest of its kind.

    Parameters
    ----------
    lake
        A lake whose graph is built; what it lacks is left out.
    user_id
        The client.
    """
    lines = _interest_text(lake, user_id)
    if not lake.exists(tables.EDGES):
        return lines
    by_kind: dict[str, list[tuple[float, str]]] = defaultdict(list)
    for row in _attributes(lake, user_id):
        by_kind[row["relation"]].append((-row["strength"], row["label"]))
    for relation, kind in _KINDS.items():
        named = sorted(by_kind[relation])[:_NAMES]
        if named:
            shown = ", ".join(f"{label} {strength / named[0][0]:.2f}" for strength, label in named)
            lines.append(f"  {kind}: {shown}")
    return lines


def edges_between(lake: Lake, pairs: set[tuple[str, str]]) -> dict[tuple[str, str], list[str]]:
    """Item-item edges of the graph as words, such as ``followed by .12``, the strongest first.

    Parameters
    ----------
    lake
        A lake whose graph is built.
    pairs
        (item of the history, recommended item); a list's worth.
    """
    from pyspark.sql import functions as F

    if not pairs or not lake.exists(tables.EDGES):
        return {}
    wanted = lake.spark.createDataFrame(
        [(f"i:{source}", f"i:{target}") for source, target in sorted(pairs)], "src string, dst string"
    )
    edges = (
        lake.read(tables.EDGES)
        .where(F.col("relation").isin("followed_by", "similar_meaning"))
        .join(F.broadcast(wanted), ["src", "dst"])
    )
    found: dict[tuple[str, str], list[str]] = defaultdict(list)
    for row in sorted(edges.collect(), key=lambda row: -row["weight"]):
        words = f"{row['relation'].replace('_', ' ')} {row['weight']:.2f}"
        found[row["src"][2:], row["dst"][2:]].append(words)
    return dict(found)


def _interest_text(lake: Lake, user_id: str) -> list[str]:
    from pyspark.sql import functions as F

    if not lake.exists(tables.USER_FEATURES):
        return []
    row = lake.read(tables.USER_FEATURES).where(F.col("user_id") == user_id).first()
    if row is None or not row["interest"]:
        return []
    return [f"  in words ({row['origin']}): {row['interest']}"]


def _attributes(lake: Lake, user_id: str) -> list[Row]:
    """Attributes two steps from the client; as many as its items have."""
    from pyspark.sql import functions as F

    edges = lake.read(tables.EDGES)
    own = edges.where((F.col("src") == f"u:{user_id}") & (F.col("relation") == "interacted")).select(
        F.col("dst").alias("item"), F.col("weight").alias("interest")
    )
    reached = (
        edges.where(F.col("relation").isin(*_KINDS))
        .join(F.broadcast(own), F.col("src") == F.col("item"))
        .groupBy("relation", "dst")
        .agg(F.sum(F.col("weight") * F.col("interest")).alias("strength"))
    )
    labels = lake.read(tables.VERTICES).select(F.col("id").alias("dst"), "label")
    return (
        reached.join(labels, "dst", "left").withColumn(
            "label", F.coalesce("label", F.expr("substring(dst, 3)"))
        )
    ).collect()
