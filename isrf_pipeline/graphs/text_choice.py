"""How much a client's interest text counts in the profile that clients are compared by: validation decides.

What a language model says of a client may help or harm, as what it says of items may (see
:mod:`isrf_pipeline.graphs.field_choice`). Each weight is judged by the group alone: whether the similar clients that a
profile finds foresee what its client chose next.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from isrf_pipeline.config import Settings
from isrf_pipeline.graphs.field_choice import ChosenField
from isrf_pipeline.graphs.neighbours import similar_clients
from isrf_pipeline.interests.implicit import group_interest
from isrf_pipeline.interests.ranking import ndcg_at_10

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

#: Name of the text among the parts of a profile.
INTEREST_TEXT = "interest"


def choose_text_weight(
    tried: Sequence[float], gains: Callable[[float], NDArray[np.float64]] | None
) -> ChosenField:
    """The weight above 0 that validation prefers to no text by more than the noise; 0 where there is none.

    Parameters
    ----------
    tried
        Weights; those above 0 are compared with 0.
    gains
        (clients,) NDCG@10 of each validation client with a weight, clients in one order; None where there are none:
        then the smallest weight above 0 is taken.
    """
    options = sorted({weight for weight in tried if weight > 0})
    if not options:
        return ChosenField(INTEREST_TEXT, 0.0, None, None)
    if gains is None:
        return ChosenField(INTEREST_TEXT, options[0], None, None)
    without = gains(0.0)
    best: ChosenField | None = None
    for weight in options:
        more = gains(weight) - without
        gain, error = float(more.mean()), float(more.std() / len(more) ** 0.5)
        found = ChosenField(INTEREST_TEXT, weight if gain > error else 0.0, gain, error)
        if best is None or (found.weight > 0, gain) > (best.weight > 0, best.gain or 0.0):
            best = found
    assert best is not None
    return best


def group_gains(
    profiles: DataFrame,
    judges: DataFrame,
    histories: DataFrame,
    popularity: NDArray[np.float32],
    settings: Settings,
) -> NDArray[np.float64]:
    """(clients,) NDCG@10 of each judge's held-out item in the list of the judge's group, judges by identifier.

    The item is ranked among what the group has and the judge has not; ties count against it, and what the group does
    not have is missed.

    Parameters
    ----------
    profiles
        user_id, embedding of everybody.
    judges
        user_id, codes (item codes of the history) and target (item code); few, whatever the lake.
    histories
        user_id, codes, weights of everybody; training events only.
    popularity
        (items,) training clients of each item.
    settings
        Of the user graph, and how long a group's list is.
    """
    from pyspark.sql import functions as F

    graph = settings.user_graph
    base = profiles.persist()
    queries = base.join(F.broadcast(judges.select("user_id")), "user_id", "left_semi").persist()
    neighbours = similar_clients(queries, base, graph.neighbours, graph)
    group = group_interest(
        neighbours, histories, popularity, graph.sharpness, settings.recommend.candidates
    ).select("user_id", F.arrays_zip("group_codes", "group_values").alias("entries"))
    asked = judges.join(group, "user_id", "left")
    new = F.filter("entries", lambda entry: ~F.array_contains("codes", entry["group_codes"]))
    asked = asked.withColumn("new", F.coalesce(new, F.array()))
    own = F.filter("new", lambda entry: entry["group_codes"] == F.col("target"))
    value = F.try_element_at(own, F.lit(1))["group_values"]
    asked = asked.withColumn("value", value)
    above = F.filter("new", lambda entry: entry["group_values"] >= F.col("value"))
    ranks = (
        asked.select("user_id", F.when(F.col("value").isNotNull(), F.size(above)).alias("rank"))
        .orderBy("user_id")
        .toArrow()
        .column("rank")
        .to_numpy()
    )
    base.unpersist()
    queries.unpersist()
    found = np.nan_to_num(ranks.astype(np.float64), nan=np.inf)
    return np.where(
        np.isfinite(found), ndcg_at_10(np.where(np.isfinite(found), found, 11).astype(np.int64)), 0.0
    )
