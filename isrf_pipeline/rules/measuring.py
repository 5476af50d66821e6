"""What the rules cost in accuracy and what they bring in diversity, measured beside the model's own lists."""

from __future__ import annotations

from typing import TYPE_CHECKING

from isrf_pipeline.evaluation.beyond_accuracy import beyond_accuracy
from isrf_pipeline.evaluation.metrics import accuracy

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

WITH_RULES, WITHOUT_RULES = "with_rules", "without_rules"


def measured_rules(
    ruled: DataFrame, plain: DataFrame, judged: DataFrame, training: DataFrame, features: DataFrame
) -> dict[tuple[str, str], float]:
    """Accuracy and what lists show, with the rules and without.

    Parameters
    ----------
    ruled, plain
        Lists under the rules and the model's own: user_id, rank, item_id.
    judged
        user_id, item_id (held out) and slices; see :func:`isrf_pipeline.evaluation.metrics.accuracy`.
    training
        Distinct user_id, item_id that statistics are fitted on.
    features
        item_id, embedding.

    Returns
    -------
    dict
        (metric, "all") to value: ``<with_rules|without_rules>.<measure>`` and
        ``with_rules.<measure>_over_without_rules`` with the bounds of its interval.
    """
    systems = {
        WITH_RULES: ruled.where("rank IS NOT NULL").select("user_id", "rank", "item_id"),
        WITHOUT_RULES: plain,
    }
    values = accuracy(systems, judged) | beyond_accuracy(
        systems, judged.select("user_id"), training, features
    )
    return {(metric, slice_): value for (metric, slice_), value in values.items() if slice_ == "all"}
