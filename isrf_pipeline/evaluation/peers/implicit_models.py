"""The peers bm25 and implicit_als: models of the package implicit as they are."""

from __future__ import annotations

import os

import numpy as np
from numpy.typing import NDArray

from isrf_pipeline.config.settings import Bm25Settings, ImplicitAlsSettings
from isrf_pipeline.evaluation.peers.histories import NO_ITEM, Histories

#: Score that implicit's factors give to a client's own items, which come last.
_NOTHING = -float(np.finfo(np.float32).max)


class Bm25:
    """Item-item neighbours by the product of BM25-weighted columns, as implicit computes them.

    Parameters
    ----------
    settings
        Neighbours of an item and the two parameters of BM25.
    """

    def __init__(self, settings: Bm25Settings) -> None:
        self._settings = settings

    def check(self, n_items: int) -> None:
        """Memory grows with the items' neighbours alone: no bound."""

    def fit(self, training: Histories, n_items: int) -> None:
        """Find the neighbours of each item."""
        from implicit.nearest_neighbours import BM25Recommender

        self._model = BM25Recommender(
            K=self._settings.neighbours,
            K1=self._settings.k1,
            B=self._settings.b,
            num_threads=os.cpu_count() or 1,
        )
        self._n_items = n_items
        self._model.fit(training.matrix(n_items), show_progress=False)

    def recommend(self, known: Histories, top_n: int) -> NDArray[np.int32]:
        """Add up the neighbours of what a client has; who has few gets a shorter list."""
        owned = known.matrix(self._n_items)
        codes, scores = self._model.recommend(np.arange(owned.shape[0]), owned, N=top_n)
        # A client's own items come back as 0 where neighbours do not fill the list; no neighbour has less than that.
        return np.where(scores > 0, codes, NO_ITEM).astype(np.int32)


class ImplicitAls:
    """Matrix factorisation by alternating least squares (Hu, Koren and Volinsky, 2008), as implicit computes it.

    A client's factors are solved again from all that is known of him, against the items' factors of training.

    Parameters
    ----------
    settings
        Factors, regularisation, confidence and iterations.
    """

    def __init__(self, settings: ImplicitAlsSettings) -> None:
        self._settings = settings

    def check(self, n_items: int) -> None:
        """Memory grows with the items' factors alone: no bound."""

    def fit(self, training: Histories, n_items: int) -> None:
        """Factorise the client-item matrix."""
        from implicit.cpu.als import AlternatingLeastSquares
        from threadpoolctl import threadpool_limits

        self._n_items = n_items
        # implicit has threads of its own; those of BLAS beside them only get in their way.
        with threadpool_limits(1, "blas"):
            self._model = AlternatingLeastSquares(
                factors=self._settings.factors,
                regularization=self._settings.regularization,
                alpha=self._settings.alpha,
                iterations=self._settings.iterations,
                num_threads=os.cpu_count() or 1,
                random_state=self._settings.seed,
            )
            self._model.fit(training.matrix(n_items), show_progress=False)

    def recommend(self, known: Histories, top_n: int) -> NDArray[np.int32]:
        """Rank all items by the product of factors."""
        from threadpoolctl import threadpool_limits

        owned = known.matrix(self._n_items)
        with threadpool_limits(1, "blas"):
            codes, scores = self._model.recommend(
                np.arange(owned.shape[0]), owned, N=min(top_n, self._n_items), recalculate_user=True
            )
        return np.where(scores > _NOTHING, codes, NO_ITEM).astype(np.int32)
