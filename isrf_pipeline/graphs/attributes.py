"""Tags, houses and categories as vertices of the semantic interaction graph, so that they are structure items share."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

#: Stands between the parts of a category's path.
STEP = " > "
#: Relations of an item to an attribute: kind of the attribute's vertex and the prefix of its identifier.
RELATIONS = {"has_tag": ("tag", "t:"), "of_house": ("house", "h:"), "in_category": ("category", "c:")}
#: Most tags that the item-item model compares items by; a dense column each.
_MOST_TAGS = 2_000


def attribute_edges(items: DataFrame, features: DataFrame) -> DataFrame:
    """Edges from items to their tags, house and category, and from a category to the broader one.

    An attribute weighs ``log(n / n_a) / log(n)`` of ``n`` items and the ``n_a`` that have it, the inverse document
    frequency (Spärck Jones, 1972) scaled to at most 1: what a single item has says all about it, what every item has
    nothing.

    Parameters
    ----------
    items
        silver.items.
    features
        reasoning.item_features; tags are what the language model inferred.

    Returns
    -------
    DataFrame
        src, dst, relation (has_tag, of_house, in_category or part_of), weight (0 to 1; part_of weighs 1).
    """
    from pyspark.sql import functions as F

    known = items.select("item_id", F.trim("brand").alias("house"), "categories").join(
        features.select("item_id", "tags"), "item_id", "left"
    )
    path = _path(F.array_compact("categories"))
    named = {"has_tag": F.col("tags"), "of_house": F.array("house"), "in_category": F.array(path)}
    no_names = F.array().cast("array<string>")

    def entries(relation: str, names: Column) -> Column:
        return F.transform(
            F.array_distinct(F.coalesce(names, no_names)),
            lambda name: F.struct(F.lit(relation).alias("relation"), name.alias("name")),
        )

    all_entries = F.concat(*[entries(relation, names) for relation, names in named.items()])
    had = (
        known.select("item_id", F.explode(all_entries).alias("had"))
        .select("item_id", "had.relation", "had.name")
        .where(F.length("name") > 0)
    )
    total = items.agg(F.count("*").alias("n"))
    frequency = had.groupBy("relation", "name").agg(F.count("*").alias("with_it")).crossJoin(total)
    telling = F.log(F.col("n") / F.col("with_it")) / F.log(F.greatest("n", F.lit(2)))
    of_items = had.join(F.broadcast(frequency), ["relation", "name"]).select(
        F.concat(F.lit("i:"), "item_id").alias("src"),
        F.concat(_prefix(F.col("relation")), "name").alias("dst"),
        "relation",
        telling.cast("float").alias("weight"),
    )
    return of_items.unionByName(_part_of(items))


def attribute_vertices(edges: DataFrame) -> DataFrame:
    """Vertices at the ends of :func:`attribute_edges`: id, kind (tag, house or category), label (its name)."""
    from pyspark.sql import functions as F

    ends = edges.select(F.col("dst").alias("id")).unionByName(
        edges.where("relation = 'part_of'").select(F.col("src").alias("id"))
    )
    kinds = F.create_map(*[F.lit(part) for kind, prefix in RELATIONS.values() for part in (prefix, kind)])
    return ends.distinct().select(
        "id", kinds[F.substring("id", 1, 2)].alias("kind"), F.expr("substring(id, 3)").alias("label")
    )


def tag_matrix(edges: DataFrame, item_ids: NDArray[np.str_]) -> sparse.csr_matrix:
    """Items by the tags that recur, each entry the weight of a has_tag edge.

    A tag of a single item makes it like no other and is left out; of more than some thousands the most frequent count.

    Parameters
    ----------
    edges
        graph.edges, or :func:`attribute_edges`.
    item_ids
        (items,) identifiers by code.

    Returns
    -------
    sparse.csr_matrix
        (items, tags) float32; tags by name.
    """
    from pyspark.sql import functions as F

    rows = (
        edges.where("relation = 'has_tag'")
        .select(F.expr("substring(src, 3)").alias("item"), "dst", "weight")
        .toArrow()
    )
    codes = {item: code for code, item in enumerate(item_ids.tolist())}
    known = [
        (codes[item], tag, weight)
        for item, tag, weight in zip(*(column.to_pylist() for column in rows.columns), strict=True)
        if item in codes
    ]
    if not known:
        return sparse.csr_matrix((len(item_ids), 0), dtype=np.float32)
    items, tags, weights = zip(*known, strict=True)
    names, column, count = np.unique(np.array(tags, np.str_), return_inverse=True, return_counts=True)
    matrix = sparse.csr_matrix(
        (weights, (items, column)), shape=(len(item_ids), len(names)), dtype=np.float32
    )
    recurring = np.flatnonzero(count > 1)
    kept = np.sort(recurring[np.argsort(-count[recurring], kind="stable")[:_MOST_TAGS]])
    return matrix[:, kept].tocsr()


def _part_of(items: DataFrame) -> DataFrame:
    from pyspark.sql import functions as F

    depth = F.size("categories")
    deeper = (
        items.select(F.array_compact("categories").alias("categories"))
        .distinct()
        .where(depth > 1)
        .select("categories", F.explode(F.sequence(F.lit(2), depth)).alias("depth"))
    )

    def category(length: Column) -> Column:
        return F.concat(F.lit("c:"), _path(F.slice("categories", F.lit(1), length)))

    return (
        deeper.select(category(F.col("depth")).alias("src"), category(F.col("depth") - 1).alias("dst"))
        .distinct()
        .select("src", "dst", F.lit("part_of").alias("relation"), F.lit(1.0).cast("float").alias("weight"))
    )


def _path(names: Column) -> Column:
    """One text from a category's path; a word ``>`` in a name gets one more, so that no two paths become one."""
    from pyspark.sql import functions as F

    apart = F.transform(names, lambda name: F.regexp_replace(name, r"(?<![^ ])(>+)(?![^ ])", "$1>"))
    return F.array_join(apart, STEP)


def _prefix(relation: Column) -> Column:
    from pyspark.sql import functions as F

    pairs = [F.lit(part) for name, (_, prefix) in RELATIONS.items() for part in (name, prefix)]
    return F.create_map(*pairs)[relation]
