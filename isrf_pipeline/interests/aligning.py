"""Contrastive alignment within a round: the map is trained, and kept only where validation is better with it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from isrf_pipeline.alignment.fitting import PAIRS_SCHEMA, fit_map
from isrf_pipeline.alignment.model import AlignedMap, ProfileMap
from isrf_pipeline.config import Settings
from isrf_pipeline.graphs.draw import drawn_clients
from isrf_pipeline.interests.model import InterestModel, embedding_matrix
from isrf_pipeline.interests.propagation import FusionWeights
from isrf_pipeline.interests.rounds import Guidance, explicit_centres, with_group

if TYPE_CHECKING:
    from pyspark import Broadcast
    from pyspark.sql import DataFrame


def train_alignment(
    histories: DataFrame,
    profiles: DataFrame,
    group: DataFrame | None,
    start: ProfileMap | None,
    model: Broadcast[InterestModel],
    settings: Settings,
) -> AlignedMap | None:
    """Train the map of a round on a sample of clients, drawn by the hash of their identifier.

    Parameters
    ----------
    histories
        user_id, codes, weights.
    profiles
        user_id, embedding: unit profiles before the map, the implicit side.
    group
        Group interest that is fed back to the explicit side, or None in the first round.
    start
        Map of the round before, or None in the first.
    model
        Broadcast item model.
    settings
        Of the run.

    Returns
    -------
    AlignedMap or None
        None where no client has both sides.
    """
    from pyspark.sql import functions as F

    guidance = Guidance(settings.interaction_graph, settings.optimize)
    alignment = settings.optimize.alignment
    drawn = drawn_clients(histories.select("user_id"), alignment.clients)

    def both_sides(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        items = model.value
        for batch in batches:
            implicit = embedding_matrix(batch.column("embedding"))
            explicit = explicit_centres(
                batch, items, guidance.graph, guidance.optimize, guidance.semantic_weight
            )
            known = np.flatnonzero(explicit.any(axis=1) & implicit.any(axis=1))
            yield pa.RecordBatch.from_arrays(
                [
                    batch.column("tie").take(pa.array(known)),
                    _packed(implicit[known]),
                    _packed(explicit[known]),
                ],
                names=["tie", "implicit", "explicit"],
            )

    inputs = (
        with_group(histories.join(F.broadcast(drawn), "user_id", "left_semi"), group)
        .join(profiles, "user_id")
        .withColumn("tie", F.xxhash64("user_id"))
    )
    return fit_map(inputs.mapInArrow(both_sides, PAIRS_SCHEMA), start, alignment)


@dataclass(frozen=True)
class Trial:
    """Validation of one round with the map and without.

    Attributes
    ----------
    with_map, without_map
        NDCG@10, each with the best of the weights that were tried.
    kept
        Whether profiles are mapped.
    """

    with_map: float
    without_map: float
    kept: bool


def try_alignment(
    measure: Callable[[ProfileMap | None], list[float]], alignment: ProfileMap, settings: Settings
) -> Trial:
    """Compare a round with the map and without.

    Parameters
    ----------
    measure
        NDCG@10 on validation for each weight of :func:`group_options`, with the given map.
    alignment
        The trained map.
    settings
        The gain that is asked for.
    """
    with_map, without_map = (max(measure(tried)) for tried in (alignment, None))
    kept = with_map > without_map * (1 + settings.optimize.alignment.min_gain)
    return Trial(with_map, without_map, kept)


def group_options(options: Sequence[FusionWeights], best: FusionWeights) -> list[FusionWeights]:
    """Those weights in which the user graph takes part and all others are those of the round before."""
    return [
        option
        for option in options
        if (option.implicit or option.feedback)
        and dataclasses.replace(best, implicit=option.implicit, feedback=option.feedback) == option
    ]


def _packed(vectors: NDArray[np.float32]) -> pa.Array:
    return pa.array([row.tobytes() for row in vectors], pa.binary())
