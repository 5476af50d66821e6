from __future__ import annotations

import random

from isrf_pipeline.graphs.modularity import join_communities


def _blocks(n_blocks: int, members: int, within: int, between: int) -> list[tuple[int, int, int]]:
    n = n_blocks * members
    return [
        (a, b, within if a // members == b // members else between) for a in range(n) for b in range(a + 1, n)
    ]


def test_small_communities_of_one_block_are_joined() -> None:
    ties = _blocks(3, 6, within=20, between=1)
    joined = join_communities(dict.fromkeys(range(18), 10), ties, min_size=1)
    assert joined == {v: v // 6 * 6 for v in range(18)}


def test_the_order_of_ties_does_not_matter() -> None:
    ties = [(a, b, w + (a * b) % 3) for a, b, w in _blocks(4, 5, within=9, between=2)]
    sizes = dict.fromkeys(range(20), 3)
    first = join_communities(sizes, ties, min_size=4)
    for seed in range(5):
        random.Random(seed).shuffle(ties)
        assert join_communities(dict(sorted(sizes.items(), reverse=True)), ties, min_size=4) == first


def test_a_small_community_joins_its_strongest_neighbour() -> None:
    ties = [(1, 1, 500), (2, 2, 500), (3, 3, 50), (1, 3, 2), (2, 3, 3)]
    assert join_communities({1: 50, 2: 50, 3: 4}, ties, min_size=10) == {1: 1, 2: 2, 3: 2}
    assert join_communities({1: 50, 2: 50, 3: 4}, ties, min_size=4) == {1: 1, 2: 2, 3: 3}


def test_chains_of_small_communities_grow_until_large_enough() -> None:
    ties = [(v, v, 1000) for v in range(6)] + [(v, v + 1, 1) for v in range(5)]
    joined = join_communities(dict.fromkeys(range(6), 5), ties, min_size=12)
    sizes = [5 * list(joined.values()).count(target) for target in set(joined.values())]
    assert min(sizes) >= 12
    assert sum(sizes) == 30


def test_small_communities_without_neighbours_stay_together() -> None:
    joined = join_communities({1: 50, 2: 3, 5: 2, 7: 1}, [(1, 1, 10), (2, 2, 1)], min_size=10)
    assert joined[2] == joined[5] == joined[7]
    assert joined[1] == 1 != joined[2]


def test_higher_resolution_gives_more_communities() -> None:
    ties = _blocks(6, 4, within=5, between=1)
    sizes = dict.fromkeys(range(24), 1)
    counts = [
        len(set(join_communities(sizes, ties, 1, resolution).values())) for resolution in (0.2, 1.0, 5.0)
    ]
    assert counts[0] < counts[1] < counts[2]


def test_no_communities() -> None:
    assert join_communities({}, [], min_size=5) == {}
