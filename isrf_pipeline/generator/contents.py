"""Items' contents as the generator takes them: semantic ids, and meaning spread over the graph."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from isrf_pipeline.config.generator_settings import GeneratorSettings
from isrf_pipeline.generator.behaviour import behaviour_vectors, item_vectors
from isrf_pipeline.generator.semantic_ids import semantic_ids
from isrf_pipeline.sequences.next_item import Phase


def ids_of_items(
    phase: Phase, meaning: NDArray[np.float32], settings: GeneratorSettings
) -> NDArray[np.int64]:
    """(items, levels + 1) semantic ids out of the items' meaning and the behaviour that histories show.

    Parameters
    ----------
    phase
        The histories.
    meaning
        (items, dimensions) embeddings of the items' texts.
    settings
        Levels, codes and weights.
    """
    behaviour = behaviour_vectors(
        phase.codes, phase.lengths, meaning, settings.behaviour_width, settings.decay
    )
    vectors = item_vectors(meaning, behaviour, settings.behaviour_weight)
    return semantic_ids(vectors, settings.levels, settings.codes, settings.slack, settings.seed)


def spread_meaning(meaning: NDArray[np.float32], semantic: sparse.csr_matrix) -> NDArray[np.float32]:
    """Half an item's own meaning and half the mean of the items that similar_meaning edges join to it.

    Those edges know nothing of clients. Edges that were learned from histories would tell, at each step of training,
    of the very item that is to be foretold.

    Parameters
    ----------
    meaning
        (items, dimensions).
    semantic
        (items, items) weights of similar_meaning edges.
    """
    total = np.maximum(np.asarray(semantic.sum(axis=1)), 1e-9)
    return np.asarray(0.5 * meaning + 0.5 * (semantic @ meaning) / total, np.float32)
