"""Joins small communities into larger ones on the graph of communities, which fits one machine."""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Iterable, Mapping

#: Neighbour to integer weight, for every vertex.
_Graph = dict[int, dict[int, int]]


def join_communities(
    sizes: Mapping[int, int], ties: Iterable[tuple[int, int, int]], min_size: int, resolution: float = 1.0
) -> dict[int, int]:
    """Join communities while that raises modularity, then those that are still too small.

    Vertices are visited in the order of their labels and ties between gains go to the smaller label, so that the
    result depends on the graph alone.

    Parameters
    ----------
    sizes
        Label of each community to its number of members.
    ties
        (a, b, total weight of the edges between them, each edge once), a <= b; a == b gives the weight within.
    min_size
        Smaller communities join the neighbour with the greatest total weight; those without any neighbour are put
        together as one.
    resolution
        Weight of the expected number of edges in modularity: above 1 gives more, smaller communities.

    Returns
    -------
    dict
        Each label to the label of its joined community, which is the smallest of those joined.
    """
    graph: _Graph = {label: {} for label in sizes}
    for a, b, weight in ties:
        graph[a][b] = graph[a].get(b, 0) + weight
        if a != b:
            graph[b][a] = graph[b].get(a, 0) + weight
    home = {label: label for label in sorted(sizes)}
    level = graph
    while True:
        moved = _local_moves(level, resolution)
        if all(vertex == target for vertex, target in moved.items()):
            break
        home = {label: moved[target] for label, target in home.items()}
        level = _collapse(level, moved)
    joined = _absorb_small(level, _total_sizes(sizes, home), min_size)
    return _smallest_named({label: joined[target] for label, target in home.items()})


def _local_moves(graph: _Graph, resolution: float) -> dict[int, int]:
    """Move vertices to the neighbouring community that raises modularity most, until none moves."""
    degree = {v: sum(ties.values()) + ties.get(v, 0) for v, ties in graph.items()}
    total = sum(degree.values())
    home = {v: v for v in graph}
    volume = dict(degree)
    moving = total > 0
    while moving:
        moving = False
        for v in sorted(graph):
            toward: defaultdict[int, int] = defaultdict(int)
            for neighbour, weight in graph[v].items():
                if neighbour != v:
                    toward[home[neighbour]] += weight
            current = home[v]
            volume[current] -= degree[v]

            def gain(community: int, toward: Mapping[int, int] = toward, own: int = degree[v]) -> float:
                return toward.get(community, 0) - resolution * own * volume[community] / total

            best, best_gain = current, gain(current)
            for community in sorted(toward):
                if (candidate := gain(community)) > best_gain * (1 + 1e-12) + 1e-9:
                    best, best_gain = community, candidate
            volume[best] += degree[v]
            if best != current:
                home[v] = best
                moving = True
    return _smallest_named(home)


def _smallest_named(home: Mapping[int, int]) -> dict[int, int]:
    """Name every community after its smallest member."""
    name: dict[int, int] = {}
    for vertex in sorted(home):
        name.setdefault(home[vertex], vertex)
    return {vertex: name[community] for vertex, community in home.items()}


def _collapse(graph: _Graph, home: Mapping[int, int]) -> _Graph:
    """The graph whose vertices are the communities; weights within count once, as a tie to itself."""
    collapsed: _Graph = {target: {} for target in set(home.values())}
    for vertex, ties in graph.items():
        for neighbour, weight in ties.items():
            if neighbour < vertex:
                continue
            a, b = home[vertex], home[neighbour]
            collapsed[a][b] = collapsed[a].get(b, 0) + weight
            if a != b:
                collapsed[b][a] = collapsed[b].get(a, 0) + weight
    return collapsed


def _total_sizes(sizes: Mapping[int, int], home: Mapping[int, int]) -> dict[int, int]:
    total: defaultdict[int, int] = defaultdict(int)
    for label, target in home.items():
        total[target] += sizes[label]
    return dict(total)


def _absorb_small(graph: _Graph, sizes: dict[int, int], min_size: int) -> dict[int, int]:
    """Join the smallest community below ``min_size`` to its closest neighbour, again and again."""
    ties = {community: dict(neighbours) for community, neighbours in graph.items()}
    sizes = dict(sizes)
    joined_to: dict[int, int] = {}
    queue = [(size, community) for community, size in sizes.items() if size < min_size]
    heapq.heapify(queue)
    alone: list[int] = []
    while queue:
        size, community = heapq.heappop(queue)
        if community in joined_to or size != sizes[community]:
            continue
        own = ties.pop(community)
        own.pop(community, None)
        if not own:
            alone.append(community)
            continue
        target = min(own, key=lambda other: (-own[other], other))
        for other, weight in own.items():
            del ties[other][community]
            if other != target:
                ties[target][other] = ties[target].get(other, 0) + weight
                ties[other][target] = ties[other].get(target, 0) + weight
        joined_to[community] = target
        sizes[target] += size
        if sizes[target] < min_size:
            heapq.heappush(queue, (sizes[target], target))
    if alone:
        joined_to.update(dict.fromkeys(alone[1:], alone[0]))

    def last(community: int) -> int:
        while community in joined_to:
            community = joined_to[community]
        return community

    return {community: last(community) for community in graph}
