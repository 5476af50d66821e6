"""Which item follows which: the item-item edges of the interaction graph, by whichever solver fits the catalogue."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from scipy import sparse

from isrf_pipeline.config import Settings
from isrf_pipeline.embedding.fields import FIELD_COLUMNS, field_weights
from isrf_pipeline.graphs.item_model import kernel_factor, solve_closed_form
from isrf_pipeline.graphs.local_model import solve_locally
from isrf_pipeline.graphs.moments import SequenceMoments, sequence_moments
from isrf_pipeline.interests.model import embedding_matrix
from isrf_pipeline.logs import log_event

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

#: Fields of the kernel that hold the language model's words; each has its weight from validation.
WORDS = ("feature", "tags")


def kernel_fields(
    features: pa.Table, order: NDArray[np.int64], tags: sparse.csr_matrix
) -> dict[str, NDArray[np.float32]]:
    """Fields by which the kernel compares items, each (items, dimensions), zero for items without it.

    Parameters
    ----------
    features
        The columns of :data:`isrf_pipeline.embedding.fields.FIELD_COLUMNS`, one row an item.
    order
        (items,) row of ``features`` of each item code.
    tags
        (items, tags) edges to tags, see :func:`isrf_pipeline.graphs.attributes.tag_matrix`.
    """
    embedded = {
        field: embedding_matrix(features.column(column))[order] for field, column in FIELD_COLUMNS.items()
    }
    return {**embedded, "tags": tags.toarray() if tags.shape[1] else np.zeros((len(order), 1), np.float32)}


def history_moments(histories: DataFrame, n_items: int, settings: Settings) -> SequenceMoments:
    """Sums over histories (column codes: item codes, newest first) that the item-item model is fitted on."""
    from pyspark.sql import functions as F

    return sequence_moments(
        histories.withColumn("codes", F.reverse("codes")), n_items, settings.interaction_graph
    )


def followed_graph(
    spark: SparkSession,
    moments: SequenceMoments,
    fields: Mapping[str, NDArray[np.float32]],
    words: Mapping[str, float],
    settings: Settings,
) -> sparse.csr_matrix:
    """The sequential item-item model: in closed form, or item by item beyond ``max_dense_items``.

    Parameters
    ----------
    spark
        Session that solves item by item.
    moments
        See :func:`history_moments`.
    fields
        See :func:`kernel_fields`.
    words
        Weights of :data:`WORDS`; what is not named is left out.
    settings
        Of the graph and of the catalogue's own fields.

    Returns
    -------
    sparse.csr_matrix
        (items, items) float32; row = item in the history, column = item to recommend.
    """
    graph = settings.interaction_graph
    n_items = moments.xx.shape[0]
    weights = {**field_weights(settings.embedding), **{word: words.get(word, 0.0) for word in WORDS}}
    kernel = kernel_factor([(rows, weights[field]) for field, rows in fields.items()])
    if n_items > graph.max_dense_items:
        log_event("solved_item_by_item", items=n_items, limit=graph.max_dense_items)
        return solve_locally(spark, moments, kernel, graph)
    return solve_closed_form(moments, kernel, graph)
