"""Trains the ranker on the clients' last training events and measures it on held-out ones."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from isrf_pipeline.config import Settings
from isrf_pipeline.interests.blocks import scored_blocks
from isrf_pipeline.interests.model import InterestModel
from isrf_pipeline.interests.propagation import FusionWeights
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


def reranked_ndcg(
    inputs: DataFrame,
    model: Broadcast[InterestModel],
    weights: FusionWeights,
    reranking: Reranking,
    settings: Settings,
) -> float:
    """Mean NDCG@10 of the held-out item with the ranker; an item that is no candidate counts as missed.

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
            target = block.rows.column("target").to_numpy(zero_copy_only=False)
            hit = ordered.codes == target[ordered.rows]
            yield pa.RecordBatch.from_pydict(
                {
                    "gain": [float((1 / np.log2(ordered.places[hit] + 2)).sum())],
                    "clients": pa.array([block.rows.num_rows], pa.int64()),
                }
            )

    row = (
        inputs.mapInArrow(measure, "gain double, clients bigint")
        .agg(F.sum("gain").alias("gain"), F.sum("clients").alias("clients"))
        .first()
    )
    return float(row["gain"] / row["clients"]) if row is not None and row["clients"] else 0.0
