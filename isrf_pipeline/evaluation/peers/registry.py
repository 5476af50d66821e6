"""The peers by name."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from isrf_pipeline.config.settings import EvaluationSettings
from isrf_pipeline.errors import EnvironmentMismatchError
from isrf_pipeline.evaluation.peers.ease import Ease
from isrf_pipeline.evaluation.peers.histories import Recommender
from isrf_pipeline.evaluation.peers.implicit_models import Bm25, ImplicitAls
from isrf_pipeline.evaluation.peers.lists import Peer, PeerLists
from isrf_pipeline.evaluation.peers.mllib_als import mllib_als_lists
from isrf_pipeline.evaluation.peers.one_machine import lists_from_one_machine
from isrf_pipeline.evaluation.peers.popularity import popularity_lists
from isrf_pipeline.evaluation.peers.sasrec import SasRec

if TYPE_CHECKING:
    from pyspark.sql import DataFrame


def _on_one_machine(recommender: Callable[[EvaluationSettings], Recommender]) -> Peer:
    def lists(
        training: DataFrame, known: DataFrame, clients: DataFrame, top_n: int, settings: EvaluationSettings
    ) -> PeerLists:
        return lists_from_one_machine(training, known, clients, top_n, recommender(settings))

    return lists


PEERS: dict[str, Peer] = {
    "popularity": popularity_lists,
    "mllib_als": mllib_als_lists,
    "bm25": _on_one_machine(lambda settings: Bm25(settings.bm25)),
    "implicit_als": _on_one_machine(lambda settings: ImplicitAls(settings.implicit_als)),
    "ease": _on_one_machine(lambda settings: Ease(settings.ease)),
    "sasrec": _on_one_machine(lambda settings: SasRec(settings.sasrec)),
}

#: Package and the extra of ours that brings it.
_NEEDED = {
    "bm25": ("implicit", "benchmark"),
    "implicit_als": ("implicit", "benchmark"),
    "sasrec": ("torch", "embeddings"),
}


def require_packages(peers: Iterable[str]) -> None:
    """Refuse peers whose package is not installed, before a run is spent on them.

    Raises
    ------
    EnvironmentMismatchError
        Naming the package and how to get it.
    """
    for peer in peers:
        package, extra = _NEEDED.get(peer, ("", ""))
        if package and importlib.util.find_spec(package) is None:
            raise EnvironmentMismatchError(
                f"peer {peer}",
                f"needs the package {package}, which is not installed",
                f"run make setup, or pip install 'isrf-pipeline[{extra}]'",
            )
