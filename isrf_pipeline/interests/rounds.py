"""Iterative batch optimization: rounds in which explicit interest guides the implicit one, and gets it back.

One round: a map that contrastive alignment has trained brings profiles together where explicit interests are alike;
the client's strongest explicit items pull the profile towards what the graph expects of the client; the
user-similarity graph is rebuilt from these profiles; group interest over it is implicit interest; and that enters
the explicit propagation of the next round as further input. Clients go through in blocks, against a broadcast item
model.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from scipy import sparse

from isrf_pipeline.alignment.model import ProfileMap
from isrf_pipeline.config.settings import InteractionGraphSettings, OptimizeSettings
from isrf_pipeline.interests.model import InterestModel, embedding_matrix
from isrf_pipeline.interests.propagation import explicit_scores, history_matrix, rows_to_csr, strongest

if TYPE_CHECKING:
    from pyspark import Broadcast
    from pyspark.sql import DataFrame

PROFILE_SCHEMA = "user_id string, embedding array<float>"


@dataclass(frozen=True)
class Guidance:
    """What explicit propagation needs to know when it guides profiles."""

    graph: InteractionGraphSettings
    optimize: OptimizeSettings

    @property
    def semantic_weight(self) -> float:
        """Weight of similar_meaning edges while rounds run, before validation has chosen one."""
        return max(self.optimize.semantic_weights)


def with_group(histories: DataFrame, group: DataFrame | None) -> DataFrame:
    """Histories with each client's group interest beside them (empty lists where there is none)."""
    from pyspark.sql import functions as F

    if group is None:
        return histories.withColumns(
            {"group_codes": F.array().cast("array<int>"), "group_values": F.array().cast("array<float>")}
        )
    return histories.join(group, "user_id", "left").withColumns(
        {
            "group_codes": F.coalesce("group_codes", F.array().cast("array<int>")),
            "group_values": F.coalesce("group_values", F.array().cast("array<float>")),
        }
    )


def guided_profiles(
    inputs: DataFrame,
    profiles: DataFrame,
    model: Broadcast[InterestModel],
    guidance: Guidance,
    alignment: ProfileMap | None = None,
) -> DataFrame:
    """Align each profile, then pull it towards the centre of the client's strongest explicit items.

    Parameters
    ----------
    inputs
        user_id, codes, weights, group_codes, group_values (see :func:`with_group`).
    profiles
        user_id, embedding: unit profiles before guidance.
    model
        Broadcast item model.
    guidance
        Strength and number of the guiding items.
    alignment
        The round's map, or None where profiles are pulled as they are.

    Returns
    -------
    DataFrame
        user_id, embedding (unit length).
    """
    settings, graph = guidance.optimize, guidance.graph
    semantic = guidance.semantic_weight

    def guide(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        items = model.value
        for batch in batches:
            own = embedding_matrix(batch.column("embedding"))
            if alignment is not None:
                own = alignment.apply(own)
            centre = explicit_centres(batch, items, graph, settings, semantic)
            pulled = own + settings.guidance * centre
            pulled /= np.maximum(np.linalg.norm(pulled, axis=1, keepdims=True), 1e-9)
            yield pa.RecordBatch.from_arrays(
                [batch.column("user_id"), _float_lists(pulled.astype(np.float32))],
                names=["user_id", "embedding"],
            )

    return inputs.join(profiles, "user_id").mapInArrow(guide, PROFILE_SCHEMA)


def explicit_centres(
    batch: pa.RecordBatch,
    items: InterestModel,
    graph: InteractionGraphSettings,
    settings: OptimizeSettings,
    semantic: float,
) -> NDArray[np.float32]:
    """(clients, dimensions) unit centres of each client's strongest explicit items; zero where there are none."""
    history = history_matrix(
        batch.column("codes"), batch.column("weights"), items.n_items, settings.middle_decay, graph.window
    )
    # Only the head of the group interest is fed back: its tail is long and says little.
    group = group_matrix(batch, items.n_items, settings.guide_items)
    explicit = explicit_scores(history, group, items, semantic, settings.feedback)
    codes, values = strongest(explicit, settings.guide_items)
    top = rows_to_csr(codes, values.flatten().to_numpy(), items.n_items)
    centre: NDArray[np.float32] = np.asarray(top @ items.embeddings, dtype=np.float32)
    centre /= np.maximum(np.linalg.norm(centre, axis=1, keepdims=True), 1e-9)
    return centre


def group_matrix(batch: pa.RecordBatch, n_items: int, head: int | None = None) -> sparse.csr_matrix:
    """Group interest of a batch as a (clients, items) sparse matrix, cut to each client's first ``head`` items."""
    codes = batch.column("group_codes")
    values = batch.column("group_values").flatten().to_numpy(zero_copy_only=False).astype(np.float32)
    if head is not None:
        lengths = np.diff(codes.offsets.to_numpy())
        place = np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths, lengths)
        values = np.where(place < head, values, 0).astype(np.float32)
    matrix = rows_to_csr(codes, values, n_items)
    matrix.eliminate_zeros()
    return matrix


def mean_alignment(inputs: DataFrame, model: Broadcast[InterestModel], guidance: Guidance) -> float:
    """Mean cosine between the centres of each client's explicit and implicit interest (1: they agree)."""
    from pyspark.sql import functions as F

    settings, graph = guidance.optimize, guidance.graph
    semantic = guidance.semantic_weight

    def compare(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        items = model.value
        for batch in batches:
            explicit = explicit_centres(batch, items, graph, settings, semantic)
            implicit = np.asarray(group_matrix(batch, items.n_items, settings.guide_items) @ items.embeddings)
            lengths = np.linalg.norm(implicit, axis=1)
            both = (lengths > 0) & (np.linalg.norm(explicit, axis=1) > 0)
            cosine = (explicit * implicit).sum(axis=1)[both] / lengths[both]
            yield pa.RecordBatch.from_pydict(
                {"cosine": pa.array([float(cosine.sum())]), "clients": [int(both.sum())]}
            )

    row = (
        inputs.mapInArrow(compare, "cosine double, clients bigint")
        .agg(F.sum("cosine").alias("cosine"), F.sum("clients").alias("clients"))
        .first()
    )
    return float(row["cosine"] / row["clients"]) if row is not None and row["clients"] else 0.0


def mean_neighbour_overlap(now: DataFrame, before: DataFrame) -> float:
    """Mean share of a client's neighbours that the round before had as well.

    Parameters
    ----------
    now, before
        src, dst (array<string>).
    """
    from pyspark.sql import functions as F

    both = now.select("src", "dst").join(before.select("src", F.col("dst").alias("dst_before")), "src")
    share = F.size(F.array_intersect("dst", "dst_before")) / F.greatest(F.size("dst"), F.lit(1))
    row = both.agg(F.avg(share)).first()
    return float(row[0]) if row is not None and row[0] is not None else 0.0


def _float_lists(matrix: NDArray[np.float32]) -> pa.ListArray:
    offsets = pa.array(np.arange(0, matrix.size + 1, matrix.shape[1], dtype=np.int32))
    return pa.ListArray.from_arrays(offsets, pa.array(matrix.ravel()))
