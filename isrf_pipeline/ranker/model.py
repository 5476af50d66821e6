"""The ranker itself: gradient boosted trees that learn to put the next item first (LightGBM's LambdaRank)."""

from __future__ import annotations

import functools
import os
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from isrf_pipeline.config.settings import RankerSettings
from isrf_pipeline.ranker.features import ABSENT, FEATURES, IS_IMPLICIT


@dataclass(frozen=True)
class Ranker:
    """Trained trees.

    Attributes
    ----------
    text
        The trees in LightGBM's own text format.
    """

    text: str

    @functools.cached_property
    def _booster(self) -> Any:
        import lightgbm

        return lightgbm.Booster(model_str=self.text)

    def scores(self, features: NDArray[np.float32]) -> NDArray[np.float64]:
        """(candidates,) score of each; comparable within one client only."""
        return np.asarray(self._booster.predict(features, num_threads=1), dtype=np.float64)

    def contributions(
        self, features: NDArray[np.float32], scores: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """(candidates, 3): what explicit features, implicit features and neither add to each score.

        The three add up to the score: the third is the score of a candidate that nothing speaks for
        (:data:`isrf_pipeline.ranker.features.ABSENT`), the first two are the Shapley values of a game of two players
        (Shapley, 1953), all explicit and all implicit features, where a player who stays away leaves absent values.

        Parameters
        ----------
        features
            (candidates, features).
        scores
            (candidates,) their :meth:`scores`, which the caller has.
        """
        explicit_only = np.where(IS_IMPLICIT, ABSENT, features)
        implicit_only = np.where(IS_IMPLICIT, features, ABSENT)
        neither = self.scores(ABSENT[None, :])
        explicit, implicit = self.scores(explicit_only), self.scores(implicit_only)
        own = ((explicit - neither) + (scores - implicit)) / 2
        return np.stack([own, scores - neither - own, np.broadcast_to(neither, scores.shape)], axis=1)

    def __getstate__(self) -> dict[str, str]:
        return {"text": self.text}


def explicit_shares(contributions: NDArray[np.float64]) -> NDArray[np.float64]:
    """Share of explicit interest in each score, of what speaks for the item; one half where nothing does.

    Parameters
    ----------
    contributions
        See :meth:`Ranker.contributions`.
    """
    explicit, implicit = np.maximum(contributions[:, 0], 0), np.maximum(contributions[:, 1], 0)
    total = explicit + implicit
    return np.asarray(np.where(total > 0, explicit / np.where(total > 0, total, 1), 0.5))


def fit_ranker(
    features: NDArray[np.float32],
    labels: NDArray[np.bool_],
    sizes: NDArray[np.int64],
    settings: RankerSettings,
) -> Ranker:
    """Learn from candidates of clients whose next item is among them.

    Parameters
    ----------
    features
        (candidates, features) in the order of :data:`isrf_pipeline.ranker.features.FEATURES`.
    labels
        (candidates,) whether a candidate is the client's next item.
    sizes
        (clients,) candidates of each client, in order.
    settings
        Shape of the trees.
    """
    import lightgbm

    data = lightgbm.Dataset(
        features, label=labels.astype(np.int32), group=sizes, feature_name=list(FEATURES), free_raw_data=True
    )
    booster = lightgbm.train(
        {
            "objective": "lambdarank",
            "lambdarank_truncation_level": settings.truncation,
            "learning_rate": settings.learning_rate,
            "num_leaves": settings.leaves,
            "min_data_in_leaf": settings.min_leaf,
            "feature_fraction": settings.feature_fraction,
            "lambda_l2": settings.l2,
            "seed": settings.seed,
            "deterministic": True,
            "force_row_wise": True,
            "num_threads": os.cpu_count() or 1,
            "verbosity": -1,
        },
        data,
        num_boost_round=settings.trees,
    )
    return Ranker(booster.model_to_string())
