"""The taste communities planted among the clients, and how strongly each kind of article appeals to them."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from isrf_pipeline.demo.articles import Catalogue

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Group:
    """A taste community.

    Parameters
    ----------
    name
        What a merchandiser would call it; never occurs in the text of an article.
    theme
        Theme all of whose kinds appeal to it.
    borrowed
        Weight of single kinds of other themes, relative to 1 for a kind of its own theme.
    houses
        Factor on the articles of a house; 1 where not named.
    size
        Share of clients before normalisation.
    """

    name: str
    theme: str
    borrowed: dict[str, float] = field(default_factory=dict)
    houses: dict[str, float] = field(default_factory=dict)
    size: float = 1.0


GROUPS: tuple[Group, ...] = (
    Group("quiet tailoring", "tailoring", {"dress_watch": 0.4}, {"Castelverne": 1.6}, 1.2),
    Group("evening jewellery", "jewellery", {"parfum": 0.3}, {"Orlanthe": 1.5}, 0.9),
    Group("weekend travel leather", "travel", {"overcoat": 0.3}, {"Tessarin": 1.5}, 1.2),
    Group("streetwear collectors", "street", {"chronograph": 0.2}, {"Kestrel & Voss": 1.4}, 1.1),
    Group("watch connoisseurs", "watchmaking", {"dress_shoes": 0.4}, {"Hautrive": 1.4}, 0.7),
    Group("fragrance and gifting", "fragrance", {"small_leather": 0.4}, {"Célandre": 1.3}, 1.3),
    Group("resort and silk", "resort", {"handbag": 0.4}, {"Aurevane": 1.3}, 1.0),
    Group("alpine sport", "alpine", {"diver": 0.3}, {"Nordhelm": 1.4}, 0.8),
)


def group_affinity(catalogue: Catalogue, groups: tuple[Group, ...]) -> Floats:
    """Affinity of every group for every article, before popularity.

    Returns
    -------
    numpy.ndarray
        Shape (articles, groups); 0 where an article's kind lies outside a group's themes.
    """
    affinity = np.zeros((len(catalogue.articles), len(groups)))
    for row, article in enumerate(catalogue.articles):
        for column, group in enumerate(groups):
            own = 1.0 if article.theme == group.theme else group.borrowed.get(article.kind, 0.0)
            affinity[row, column] = own * group.houses.get(article.house, 1.0)
    return affinity
