"""Segments from night to night: tonight's communities take the names of yesterday's segments that they continue."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

#: Hexadecimal digits of a community that name a new segment.
_DIGITS = 8


@dataclass(frozen=True)
class Continuation:
    """How a segment stands to the night before.

    Attributes
    ----------
    segment_id
        Tonight's name; of a segment that died the one it had.
    change
        kept, born or died.
    size, size_before
        Clients tonight and the night before; 0 where it was not there.
    shared
        Clients in both.
    """

    segment_id: str
    change: str
    size: int
    size_before: int
    shared: int

    @property
    def similarity(self) -> float:
        """Shared clients over clients of either night (Jaccard)."""
        either = self.size + self.size_before - self.shared
        return self.shared / either if either else 0.0


def continued_segments(
    communities: Mapping[str, int],
    before: Mapping[str, int],
    shared: Iterable[tuple[str, str, int]],
    least: float,
) -> dict[str, Continuation]:
    """Give each community the segment that it continues, or a new name.

    Pairs are taken in the order of their similarity (shared clients over clients of either), each community and each
    segment once; ties go to the smaller names.

    Parameters
    ----------
    communities
        Tonight's communities (hexadecimal) and their sizes.
    before
        The segments of the night before and their sizes.
    shared
        Community, segment and how many clients are in both.
    least
        A pair less similar than this is none.

    Returns
    -------
    dict
        Community to what became of it; segments that no community continues stand under their own names, as died.
    """
    pairs = [
        (Continuation(segment, "kept", communities[community], before[segment], count), community)
        for community, segment, count in shared
    ]
    pairs.sort(key=lambda pair: (-pair[0].similarity, pair[1], pair[0].segment_id))
    found: dict[str, Continuation] = {}
    taken: set[str] = set()
    for pair, community in pairs:
        if pair.similarity >= least and community not in found and pair.segment_id not in taken:
            found[community] = pair
            taken.add(pair.segment_id)
    # Names of the dead are not given again: whoever kept a list by segment must not mistake another for it.
    used = set(before)
    for community in sorted(communities.keys() - found.keys()):
        name = _new_name(community, used)
        used.add(name)
        found[community] = Continuation(name, "born", communities[community], 0, 0)
    for segment in before.keys() - taken:
        found[segment] = Continuation(segment, "died", 0, before[segment], 0)
    return found


def match_communities(
    members: DataFrame, before: DataFrame | None, least: float
) -> tuple[DataFrame, list[Continuation]]:
    """Name the communities of a night after the segments that they continue.

    Sizes of communities and of their overlaps reach the driver: as many numbers as there are segments, squared at
    worst.

    Parameters
    ----------
    members
        user_id, community and affinity.
    before
        segment_id and user_id of the night before; None where there is none.
    least
        See :func:`continued_segments`.

    Returns
    -------
    tuple
        members with segment_id in place of community, and what became of every segment, by name.
    """
    from pyspark.sql import functions as F

    sizes = {row["community"]: row["count"] for row in members.groupBy("community").count().collect()}
    sizes_before: dict[str, int] = {}
    shared: list[tuple[str, str, int]] = []
    if before is not None:
        sizes_before = {
            row["segment_id"]: row["count"] for row in before.groupBy("segment_id").count().collect()
        }
        overlaps = members.join(before.select("user_id", "segment_id"), "user_id")
        counted = overlaps.groupBy("community", "segment_id").count().collect()
        shared = [(row["community"], row["segment_id"], row["count"]) for row in counted]
    found = continued_segments(sizes, sizes_before, shared, least)
    names = members.sparkSession.createDataFrame(
        [(community, found[community].segment_id) for community in sorted(sizes)],
        "community string, segment_id string",
    )
    named = members.join(F.broadcast(names), "community").drop("community")
    return named, sorted(found.values(), key=lambda one: (one.segment_id, one.change))


def _new_name(community: str, used: set[str]) -> str:
    """A segment's name out of its community, longer where a segment has it already."""
    for digits in range(_DIGITS, len(community)):
        if f"s{community[:digits]}" not in used:
            return f"s{community[:digits]}"
    return f"s{community}"
