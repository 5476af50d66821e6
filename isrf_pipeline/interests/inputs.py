"""Joins what scoring needs for one group of clients: histories, group interest, excluded items."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from isrf_pipeline.alignment.model import ProfileMap
from isrf_pipeline.config import Settings
from isrf_pipeline.graphs.neighbours import similar_clients
from isrf_pipeline.interests.implicit import group_interest
from isrf_pipeline.interests.model import InterestModel
from isrf_pipeline.interests.rounds import Guidance, guided_profiles, with_group

if TYPE_CHECKING:
    from pyspark import Broadcast
    from pyspark.sql import DataFrame


@dataclass(frozen=True)
class ReferenceClients:
    """The clients that others are compared with, as training events show them.

    Attributes
    ----------
    histories
        user_id, codes, weights.
    profiles
        Profiles of a round: user_id, embedding.
    """

    histories: DataFrame
    profiles: Callable[[int], DataFrame]


def profiles_in_round(
    histories: DataFrame,
    profiles: DataFrame,
    group: DataFrame | None,
    round_: int,
    model: Broadcast[InterestModel],
    settings: Settings,
    alignment: ProfileMap | None = None,
) -> DataFrame:
    """Profiles of clients in a round: as they are in round 0, aligned and guided by explicit interest in later ones."""
    if round_ == 0:
        return profiles
    guidance = Guidance(settings.interaction_graph, settings.optimize)
    return guided_profiles(with_group(histories, group), profiles, model, guidance, alignment)


def group_after_rounds(
    histories: DataFrame,
    profiles: DataFrame,
    reference: ReferenceClients,
    chosen_round: int,
    model: Broadcast[InterestModel],
    settings: Settings,
    alignments: Mapping[int, ProfileMap],
) -> DataFrame:
    """Group interest of clients after the chosen number of rounds.

    The reference clients keep the profiles that optimization stored, so a client's result does not depend on who
    else is asked for.

    Parameters
    ----------
    histories
        user_id, codes, weights of the clients asked for, from all events they may be judged by.
    profiles
        user_id, embedding: their profiles before guidance.
    reference
        Whom they are compared with.
    chosen_round
        Round that validation chose; 0 is without guidance.
    model
        Broadcast item model.
    settings
        Of the run.
    alignments
        Maps of profiles by round, as far as validation kept them.

    Returns
    -------
    DataFrame
        user_id, group_codes, group_values.
    """
    graph = settings.user_graph
    group: DataFrame | None = None
    for round_ in range(min(1, chosen_round), chosen_round + 1):
        # The search reads its queries twice.
        queries = profiles_in_round(
            histories, profiles, group, round_, model, settings, alignments.get(round_)
        ).persist()
        neighbours = similar_clients(queries, reference.profiles(round_), graph.neighbours, graph)
        group = group_interest(
            neighbours,
            reference.histories,
            model.value.popularity,
            graph.sharpness,
            settings.recommend.candidates,
        ).persist()
    assert group is not None
    return group
