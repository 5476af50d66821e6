"""Which item follows which: the item-item edges of the interaction graph, by whichever solver fits the catalogue."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from scipy import sparse

from isrf_pipeline.config import Settings
from isrf_pipeline.embedding.fields import FIELD_COLUMNS, field_weights
from isrf_pipeline.graphs.item_model import kernel_factor, solve_closed_form, transition_graph
from isrf_pipeline.graphs.moments import sequence_moments
from isrf_pipeline.interests.model import embedding_matrix
from isrf_pipeline.logs import log_event

if TYPE_CHECKING:
    from pyspark.sql import DataFrame


def followed_graph(
    histories: DataFrame, features: pa.Table, order: NDArray[np.int64], settings: Settings
) -> sparse.csr_matrix:
    """Learn the sequential item-item model from clients' histories.

    Parameters
    ----------
    histories
        codes (array<int>: item codes, newest first).
    features
        The columns of :data:`isrf_pipeline.embedding.fields.FIELD_COLUMNS`, one row an item.
    order
        (items,) row of ``features`` of each item code.
    settings
        Of the graph and of the fields of the kernel.

    Returns
    -------
    sparse.csr_matrix
        (items, items) float32; row = item in the history, column = item to recommend.
    """
    from pyspark.sql import functions as F

    graph = settings.interaction_graph
    moments = sequence_moments(histories.withColumn("codes", F.reverse("codes")), len(order), graph)
    if len(order) > graph.max_dense_items:
        log_event("closed form skipped", items=len(order), limit=graph.max_dense_items)
        return transition_graph(moments, graph)
    weights = field_weights(settings.embedding)
    kernel = kernel_factor(
        [
            (embedding_matrix(features.column(column))[order], weights[field])
            for field, column in FIELD_COLUMNS.items()
        ]
    )
    return solve_closed_form(moments, kernel, graph)
