"""Trains the ranker on the clients' last training events and measures it on held-out ones."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from isrf_pipeline.config import Settings
from isrf_pipeline.config.settings import RankerSettings
from isrf_pipeline.interests.blocks import excluded_codes, scored_blocks
from isrf_pipeline.interests.model import InterestModel
from isrf_pipeline.interests.propagation import FusionWeights
from isrf_pipeline.interests.ranking import ndcg_at_10, ranks_of
from isrf_pipeline.interests.reranking import Reranking, block_candidates, ordered_candidates
from isrf_pipeline.ranker.features import FEATURES
from isrf_pipeline.ranker.model import Ranker, fit_ranker

if TYPE_CHECKING:
    from pyspark import Broadcast
    from pyspark.sql import DataFrame


def train_ranker(
    inputs: DataFrame, model: Broadcast[InterestModel], weights: FusionWeights, settings: Settings
) -> tuple[Ranker | None, dict[str, float]]:
    """Learn from the clients whose next item is among their candidates.

    Candidates of at most ``ranker.clients`` clients reach the driver, 30 numbers each.

    Parameters
    ----------
    inputs
        As for :func:`isrf_pipeline.interests.ranking.rank_items`, with today and target.
    model
        Broadcast item model that has not seen the targets.
    weights
        Fixed fusion that chooses candidates.
    settings
        Of the run.

    Returns
    -------
    tuple
        The ranker, or None where nobody's next item is among the candidates, and what it learned from: clients, and
        the share of them whose next item is a candidate.
    """
    from pyspark.sql import functions as F

    graph, optimize, ranker = settings.interaction_graph, settings.optimize, settings.ranker

    def candidates_of(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        items = model.value
        for block in scored_blocks(batches, items, weights, graph, optimize):
            candidates, features = block_candidates(block, items, graph, ranker, optimize.scorers)
            clients = block.rows.num_rows
            target = block.rows.column("target").to_numpy(zero_copy_only=False)
            bounds = np.searchsorted(candidates.rows, np.arange(clients + 1))
            right = np.flatnonzero(candidates.codes == target[candidates.rows])
            place: list[int | None] = [None] * clients
            packed: list[bytes | None] = [None] * clients
            for at in right:
                client = candidates.rows[at]
                place[client] = int(at - bounds[client])
                packed[client] = features[bounds[client] : bounds[client + 1]].tobytes()
            yield pa.RecordBatch.from_pydict(
                {
                    "tie": block.rows.column("tie"),
                    "size": np.diff(bounds).astype(np.int32),
                    "place": pa.array(place, pa.int32()),
                    "features": pa.array(packed, pa.binary()),
                }
            )

    tied = inputs.withColumn("tie", F.xxhash64("user_id"))
    rows = (
        tied.mapInArrow(candidates_of, "tie bigint, size int, place int, features binary")
        .toArrow()
        .sort_by("tie")
    )
    found = rows.filter(rows.column("place").is_valid())
    learned = {"clients": float(rows.num_rows), "candidate_recall": found.num_rows / max(rows.num_rows, 1)}
    if not found.num_rows:
        return None, learned
    sizes = found.column("size").to_numpy().astype(np.int64)
    features = np.frombuffer(b"".join(found.column("features").to_pylist()), np.float32)
    labels = np.zeros(int(sizes.sum()), bool)
    labels[np.cumsum(sizes) - sizes + found.column("place").to_numpy()] = True
    return fit_ranker(features.reshape(-1, len(FEATURES)), labels, sizes, ranker), learned


@dataclass(frozen=True)
class RankerTrial:
    """What the ranker does for clients whose next item is known.

    Attributes
    ----------
    ndcg
        Mean NDCG@10 with it; an item that is no candidate counts as missed.
    gain, error
        Mean difference to the fixed fusion, client by client, and the standard error of that mean.
    """

    ndcg: float
    gain: float
    error: float

    def helps(self, settings: RankerSettings) -> bool:
        """Whether the gain is as large as the settings ask."""
        least = max(settings.min_gain * (self.ndcg - self.gain), settings.min_standard_errors * self.error)
        return self.gain > least


def try_ranker(
    inputs: DataFrame,
    model: Broadcast[InterestModel],
    weights: FusionWeights,
    reranking: Reranking,
    settings: Settings,
) -> RankerTrial:
    """Order the same clients' items by the ranker and by the fixed fusion.

    Parameters
    ----------
    inputs
        As for :func:`isrf_pipeline.interests.ranking.rank_items`, with today and target.
    model
        Broadcast item model.
    weights
        Fixed fusion that chooses candidates.
    reranking
        The ranker.
    settings
        Of the run.
    """
    from pyspark.sql import functions as F

    graph, optimize = settings.interaction_graph, settings.optimize

    def measure(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        items = model.value
        for block in scored_blocks(batches, items, weights, graph, optimize):
            ordered = ordered_candidates(block, items, graph, reranking, 10)
            target = block.rows.column("target").to_numpy(zero_copy_only=False).astype(np.int64)
            hit = ordered.codes == target[ordered.rows]
            gained = np.zeros(len(target))
            gained[ordered.rows[hit]] = ndcg_at_10(ordered.places[hit] + 1)
            ranks = ranks_of(block.parts.explicit + block.parts.implicit, target, excluded_codes(block.rows))
            more = gained - ndcg_at_10(ranks)
            yield pa.RecordBatch.from_pydict(
                {
                    "ndcg": [float(gained.sum())],
                    "more": [float(more.sum())],
                    "squared": [float((more**2).sum())],
                    "clients": pa.array([len(target)], pa.int64()),
                }
            )

    sums = ("ndcg", "more", "squared", "clients")
    row = (
        inputs.mapInArrow(measure, "ndcg double, more double, squared double, clients bigint")
        .agg(*(F.sum(name).alias(name) for name in sums))
        .first()
    )
    if row is None or not row["clients"]:
        return RankerTrial(0.0, 0.0, 0.0)
    ndcg, gain, square = (row[name] / row["clients"] for name in sums[:3])
    return RankerTrial(ndcg, gain, (max(square - gain**2, 0.0) / row["clients"]) ** 0.5)
