"""The greedy pass under caps, quota and diversity: lists worked out by hand, and what holds whatever the candidates."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from isrf_pipeline.rules.greedy import Filled, Ordered, fill_lists

TWO_ALIKE = np.array([[1, 0], [1, 0], [0, 1], [0.6, 0.8]], np.float32)


def one_client(
    count: int,
    houses: list[int] | None = None,
    most: int = 1,
    new: list[int] | None = None,
    demoted: list[int] | None = None,
    beside: list[int] | None = None,
    vectors: NDArray[np.float32] | None = None,
) -> Ordered:
    """Candidates 0, 1, 2, ... of one client, best first and evenly apart."""

    def marked(places: list[int] | None) -> NDArray[np.bool_]:
        return np.isin(np.arange(count), places or [])[None, :]

    return Ordered(
        np.ones((1, count), bool),
        np.linspace(1, 0, count)[None, :],
        marked(demoted),
        marked(new),
        marked(beside),
        () if houses is None else (np.array([houses], np.int32),),
        () if houses is None else (most,),
        None if vectors is None else vectors[None, :],
    )


def places(filled: Filled) -> list[int]:
    return filled.picks[0].tolist()


def given_by(flags: NDArray[np.bool_]) -> list[int]:
    return np.flatnonzero(flags[0]).tolist()


def test_without_rules_the_order_stays() -> None:
    filled = fill_lists(one_client(4), 3)
    assert places(filled) == [0, 1, 2]
    assert not filled.by_quota.any() and not filled.by_diversity.any()
    assert places(fill_lists(one_client(2), 3)) == [0, 1, -1]


def test_a_cap_passes_over_whoever_is_beyond_it() -> None:
    # Houses of the candidates: 7 7 7 8 none none. Two places a house.
    filled = fill_lists(one_client(6, [7, 7, 7, 8, -1, -1], most=2), 5)
    assert places(filled) == [0, 1, 3, 4, 5]
    assert filled.full[0].tolist() == [[True, True, True, False, False, False]]


def test_the_quota_takes_the_last_places_of_its_window() -> None:
    # 4, 6 and 7 are new; two of the first four places are theirs.
    filled = fill_lists(one_client(8, new=[4, 6, 7]), 6, at_least=2, of_first=4)
    assert places(filled) == [0, 1, 4, 6, 2, 3]
    assert given_by(filled.by_quota) == [2, 3]


def test_new_arrivals_that_stand_there_by_score_fill_the_quota() -> None:
    filled = fill_lists(one_client(6, new=[1, 2, 5]), 4, at_least=2)
    assert places(filled) == [0, 1, 2, 3]
    assert not filled.by_quota.any()


def test_the_quota_is_met_although_a_cap_would_have_spent_its_places() -> None:
    # The only new arrival is of house 7, of which the best two would have filled the places.
    filled = fill_lists(one_client(5, [7, 7, 8, 8, 7], most=2, new=[4]), 3, at_least=1)
    assert places(filled) == [0, 2, 4]
    assert given_by(filled.by_quota) == [2]


def test_candidates_for_the_quotas_sake_stand_nowhere_else() -> None:
    quota_only = one_client(4, new=[0, 1], beside=[0, 1])
    assert places(fill_lists(quota_only, 4, at_least=1)) == [0, 2, 3, -1]
    assert given_by(fill_lists(quota_only, 4, at_least=1).by_quota) == [0]
    assert places(fill_lists(quota_only, 4)) == [2, 3, -1, -1]


def test_diversity_by_hand() -> None:
    # Relevance 1, 2/3, 1/3, 0. With weight .5, after 0: 1 has 1/3 - 1/2, 2 has 1/6 - 0, 3 has 0 - .3; then 1 has
    # 1/3 - 1/2 and 3 has 0 - .4.
    filled = fill_lists(one_client(4, vectors=TWO_ALIKE), 4, weight=0.5)
    assert places(filled) == [0, 2, 1, 3]
    assert given_by(filled.by_diversity) == [1]


def test_what_is_demoted_stays_behind_however_unlike_it_is() -> None:
    # Demoted candidates come last in the order; 2 is unlike all others.
    filled = fill_lists(one_client(4, demoted=[2, 3], vectors=TWO_ALIKE), 4, weight=0.9)
    assert places(filled) == [0, 1, 2, 3]


def test_an_empty_block_and_a_client_without_candidates() -> None:
    nothing = np.zeros((2, 0), bool)
    filled = fill_lists(Ordered(nothing, nothing.astype(float), nothing, nothing, nothing), 2, at_least=1)
    assert filled.picks.tolist() == [[-1, -1], [-1, -1]]
    absent = Ordered(*(np.zeros((1, 1), kind) for kind in (bool, float, bool, bool, bool)))
    assert fill_lists(absent, 2, at_least=1).picks.tolist() == [[-1, -1]]


@st.composite
def blocks(draw: st.DrawFn) -> tuple[Ordered, int, int, int, float]:
    """Some clients' candidates with houses, two levels of categories that nest, and a quota."""
    clients, count = draw(st.integers(1, 3)), draw(st.integers(1, 9))
    shape = (clients, count)

    def drawn(values: st.SearchStrategy[int]) -> NDArray[np.int32]:
        flat = draw(st.lists(values, min_size=clients * count, max_size=clients * count))
        return np.array(flat, np.int32).reshape(shape)

    rank = np.arange(count)
    present = rank[None, :] < drawn(st.integers(0, count))[:, :1]
    demoted = rank[None, :] >= drawn(st.integers(0, count))[:, :1]
    broad = drawn(st.integers(-1, 1))
    fine = np.where(broad < 0, -1, 3 * broad + drawn(st.integers(0, 2)))
    kinds = draw(st.sampled_from([(), (broad,), (broad, fine)]))
    most = tuple(draw(st.integers(1, 3)) for _ in kinds)
    places = draw(st.integers(1, 6))
    of_first = draw(st.integers(1, places))
    weight = draw(st.sampled_from([0.0, 0.3, 0.8]))
    angles = drawn(st.integers(0, 7)) * np.pi / 8
    vectors = np.stack([np.cos(angles), np.sin(angles)], axis=2).astype(np.float32)
    ordered = Ordered(
        present,
        np.broadcast_to(np.linspace(1, 0, count), shape),
        demoted & present,
        drawn(st.integers(0, 1)).astype(bool) & present,
        np.zeros(shape, bool),
        kinds,
        most,
        vectors if weight else None,
    )
    return ordered, places, draw(st.integers(0, of_first)), of_first, weight


def largest_choice(ordered: Ordered, client: int, at_most: int) -> int:
    """How many new arrivals the caps allow beside each other, by trying all sets of them."""
    candidates = np.flatnonzero(ordered.new[client])
    for size in range(min(at_most, len(candidates)), 0, -1):
        for chosen in itertools.combinations(candidates, size):
            if all(
                np.unique(kind[client, list(chosen)][kind[client, list(chosen)] >= 0], return_counts=True)[
                    1
                ].max(initial=0)
                <= most
                for kind, most in zip(ordered.kinds, ordered.most, strict=True)
            ):
                return size
    return 0


@given(blocks())
def test_what_holds_of_every_list(block: tuple[Ordered, int, int, int, float]) -> None:
    ordered, places, at_least, of_first, weight = block
    filled = fill_lists(ordered, places, at_least, of_first, weight)
    for client, row in enumerate(filled.picks):
        listed = row[row >= 0]
        # No holes, nothing twice, nothing that may not be listed.
        assert (row[: len(listed)] >= 0).all()
        assert len(set(listed.tolist())) == len(listed)
        assert ordered.present[client, listed].all()
        for kind, most, full in zip(ordered.kinds, ordered.most, filled.full, strict=True):
            counts = np.bincount(kind[client, listed] + 1, minlength=8)
            assert (counts[1:] <= most).all()
            capped = kind[client] >= 0
            assert (full[client][capped] == (counts[kind[client][capped] + 1] >= most)).all()
        # Categories nest, so the best new arrivals one after the other are as many as any choice of them.
        new = int(ordered.new[client, row[:of_first][row[:of_first] >= 0]].sum())
        assert new >= largest_choice(ordered, client, at_least)
        # A list ends early only where caps leave nothing.
        if len(listed) < places:
            left = ordered.present[client].copy()
            left[listed] = False
            for full in filled.full:
                left &= ~full[client]
            assert not left.any()
        # Whoever is demoted stands behind all others, but for the quota.
        if at_least == 0:
            behind = ordered.demoted[client, listed]
            assert (np.diff(behind.astype(int)) >= 0).all()


@given(blocks())
def test_a_client_does_not_depend_on_the_rest_of_the_block(
    block: tuple[Ordered, int, int, int, float],
) -> None:
    ordered, places, at_least, of_first, weight = block
    whole = fill_lists(ordered, places, at_least, of_first, weight)
    for client in range(len(whole.picks)):
        own = slice(client, client + 1)
        alone = Ordered(
            ordered.present[own],
            ordered.relevance[own],
            ordered.demoted[own],
            ordered.new[own],
            ordered.beside[own],
            tuple(kind[own] for kind in ordered.kinds),
            ordered.most,
            None if ordered.vectors is None else ordered.vectors[own],
        )
        filled = fill_lists(alone, places, at_least, of_first, weight)
        assert filled.picks.tolist() == whole.picks[own].tolist()


@pytest.mark.parametrize("at_least", [1, 3])
def test_with_house_and_category_the_quota_takes_what_fits(at_least: int) -> None:
    # New arrivals by house and category: (1, 1), (1, 2), (2, 1). One place each: the first one bars both others.
    ordered = Ordered(
        np.ones((1, 3), bool),
        np.ones((1, 3)),
        np.zeros((1, 3), bool),
        np.ones((1, 3), bool),
        np.zeros((1, 3), bool),
        (np.array([[1, 1, 2]], np.int32), np.array([[1, 2, 1]], np.int32)),
        (1, 1),
    )
    assert fill_lists(ordered, 3, at_least).picks.tolist() == [[0, -1, -1]]
