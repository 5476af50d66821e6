"""The trie of all semantic ids: what may follow what, so that nothing but existing items can be written."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Trie:
    """Prefixes of semantic ids; those of one level are its nodes, numbered in the order of their codes.

    Attributes
    ----------
    nodes
        For each level, (items,) node that an item's id passes.
    children
        For each level, (nodes of the level before, most children) nodes of this level, -1 beyond a node's last child;
        the level before the first has one node, the root.
    places
        For each level, (nodes,) place of a node among its parent's children.
    leaves
        (items,) item of each node of the last level.
    """

    nodes: tuple[NDArray[np.int64], ...]
    children: tuple[NDArray[np.int64], ...]
    places: tuple[NDArray[np.int64], ...]
    leaves: NDArray[np.int64]

    @property
    def sizes(self) -> list[int]:
        """Nodes of each level."""
        return [len(places) for places in self.places]


def trie_of(ids: NDArray[np.int64]) -> Trie:
    """Build the trie of unique semantic ids; a level at which no prefix has a choice is left out.

    Parameters
    ----------
    ids
        (items, levels) codes; rows are unique.

    Raises
    ------
    ValueError
        If two items share an id.
    """
    nodes: list[NDArray[np.int64]] = []
    children: list[NDArray[np.int64]] = []
    places: list[NDArray[np.int64]] = []
    above = np.zeros(len(ids), np.int64)
    count_above = 1
    for level in range(ids.shape[1]):
        pairs, node = np.unique(np.stack([above, ids[:, level]], axis=1), axis=0, return_inverse=True)
        if len(pairs) == count_above and nodes:
            continue
        parent = pairs[:, 0]
        sizes = np.bincount(parent, minlength=count_above)
        place = np.arange(len(pairs)) - (np.cumsum(sizes) - sizes)[parent]
        table = np.full((count_above, int(sizes.max(initial=1))), -1, np.int64)
        table[parent, place] = np.arange(len(pairs))
        above, count_above = node.reshape(-1).astype(np.int64), len(pairs)
        nodes.append(above)
        children.append(table)
        places.append(place.astype(np.int64))
    if count_above != len(ids):
        raise ValueError("two items share a semantic id")
    return Trie(tuple(nodes), tuple(children), tuple(places), np.argsort(above))
