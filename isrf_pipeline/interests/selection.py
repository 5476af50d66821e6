"""Validation chooses: fusion weights within a round, and the round that is delivered."""

from __future__ import annotations

import itertools
from collections.abc import Iterable

from isrf_pipeline.config import Settings
from isrf_pipeline.interests.propagation import FusionWeights


def fusion_options(settings: Settings) -> list[FusionWeights]:
    """All fusion weights among which validation chooses, plainest first."""
    optimize = settings.optimize

    def tried(scorer: str, weights: Iterable[float]) -> list[float]:
        return sorted(weights) if scorer in optimize.scorers else [0.0]

    return [
        FusionWeights(semantic, implicit, feedback, sequence, followed, generator, decay)
        for implicit, semantic, feedback, sequence, followed, generator, decay in itertools.product(
            tried("group", optimize.implicit_weights),
            tried("semantic", optimize.semantic_weights),
            tried("group", {0.0, optimize.feedback}),
            tried("sequence", optimize.sequence_weights),
            tried("followed", [1.0]),
            tried("generator", optimize.generator_weights),
            # The networks read histories as they are.
            sorted(optimize.history_decays)
            if {"followed", "semantic"} & set(optimize.scorers)
            else optimize.history_decays[:1],
        )
    ]


def choose(
    results: list[tuple[float, int, FusionWeights]], settings: Settings
) -> tuple[float, int, FusionWeights]:
    """Choose a round: a later one takes the place of an earlier one where validation is better by ``min_round_gain``.

    Each round costs a search among all clients in every night, and a difference of a few thousandths is noise of the
    validation sample. Without validation events the last round and the middle of the configured weights are taken;
    their value is 0.

    Parameters
    ----------
    results
        Validation NDCG, round and best weights of each round, in the order of rounds.
    settings
        The gain that is asked for, and what to take without results.
    """
    if results:
        wanted = settings.optimize.round
        if wanted is not None:
            return next(result for result in results if result[1] == wanted)
        chosen = results[0]
        for result in results[1:]:
            if result[0] > chosen[0] * (1 + settings.optimize.min_round_gain):
                chosen = result
        return chosen
    options = fusion_options(settings)
    last = settings.optimize.round if settings.optimize.round is not None else settings.optimize.rounds
    return 0.0, last, options[len(options) // 2]


def out_of_patience(results: list[tuple[float, int, FusionWeights]], settings: Settings) -> bool:
    """Whether the last ``patience`` rounds brought no gain over the one that :func:`choose` takes.

    Where the settings name the round, all rounds after it are idle and none before it is.
    """
    wanted = settings.optimize.round
    if wanted is not None:
        return bool(results) and results[-1][1] >= wanted
    return bool(results) and results[-1][1] - choose(results, settings)[1] >= settings.optimize.patience
