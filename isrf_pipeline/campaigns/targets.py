"""Turns what a brief names into what the lake has: articles with weights, segments by identifier."""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from isrf_pipeline.campaigns.brief import Brief
from isrf_pipeline.embedding.encoder import embed_texts
from isrf_pipeline.errors import ConfigurationError, InputRefusedError
from isrf_pipeline.ingest.sources import Source, require_path

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from isrf_pipeline.config.settings import EmbeddingSettings

#: Identifiers named in one message; and the largest catalogue in which the nearest identifier is looked for.
_NAMED = 3
_SEARCHED = 50_000


@dataclass(frozen=True)
class Catalogue:
    """The articles that targets are made of.

    Attributes
    ----------
    item_ids
        (items,) identifiers, sorted.
    embeddings
        (items, dimensions) unit embeddings.
    available
        (items,) whether an article may be recommended.
    """

    item_ids: NDArray[np.str_]
    embeddings: NDArray[np.float32]
    available: NDArray[np.bool_]


@dataclass(frozen=True)
class Campaign:
    """A brief and what of it is there tonight.

    Attributes
    ----------
    brief
        As asked for.
    items
        Weight of each article of the target, the heaviest first; empty for a segment.
    segment_id
        Segment of the target, or None.
    left_out_segments
        Segments whose members are left out.
    faults
        What the brief names and the lake lacks.
    remarks
        What else a reader of its results should know.
    runs
        Whether it can run in spite of its faults.
    """

    brief: Brief
    items: Mapping[str, float]
    segment_id: str | None = None
    left_out_segments: tuple[str, ...] = ()
    faults: tuple[ConfigurationError, ...] = ()
    remarks: tuple[str, ...] = ()
    runs: bool = True

    @property
    def note(self) -> str | None:
        """Faults and remarks in one line, or None."""
        said = [
            *(f"{fault.subject.rpartition(' ')[2]}: {fault.rule}" for fault in self.faults),
            *self.remarks,
        ]
        return "; ".join(said) or None


def theme_vectors(
    spark: SparkSession, briefs: Sequence[Brief], settings: EmbeddingSettings
) -> dict[str, NDArray[np.float32]]:
    """Unit embedding of each brief's theme by the run's encoder, by the brief's id; others have none.

    Nothing is kept in the lake's cache: there are few themes, and the cache belongs to the stages that read texts.
    """
    themes = [(brief.id, brief.target.theme) for brief in briefs if brief.target.theme is not None]
    if not themes:
        return {}
    frame = spark.createDataFrame(themes, "campaign_id string, theme string")
    rows = embed_texts(frame, "campaign_id", "theme", settings).collect()
    return {row["campaign_id"]: np.asarray(row["embedding"], np.float32) for row in rows}


def find_targets(
    brief: Brief,
    catalogue: Catalogue,
    segments: Mapping[str, str],
    theme: NDArray[np.float32] | None,
    theme_items: int,
) -> Campaign:
    """Look up what a brief names.

    An article that is not in the catalogue is left out of the target, and said so. A campaign of which no article is
    left, whose segment is not there, or that would have to ignore a segment it is to leave out, cannot run.

    Parameters
    ----------
    brief
        The brief.
    catalogue
        Tonight's articles.
    segments
        Tonight's segments: identifier to name.
    theme
        (dimensions,) unit embedding of the theme's words, where the target is a theme.
    theme_items
        Most articles that stand for a theme.
    """
    faults: list[ConfigurationError] = []
    remarks: list[str] = []
    items: dict[str, float] = {}
    segment_id = None
    try:
        if brief.target.items is not None:
            items, faults = _named_items(brief, catalogue)
            remarks = _not_available(items, catalogue)
        elif brief.target.segment is not None:
            segment_id = segment_of(brief, "target.segment", brief.target.segment, segments)
        else:
            assert theme is not None
            items = nearest_items(theme, catalogue, theme_items)
            if not items:
                raise _broken(brief, "target.theme", "no available article comes near it", "use other words")
        left_out = tuple(
            segment_of(brief, f"exclude.segments.{place}", name, segments)
            for place, name in enumerate(brief.exclude.segments)
        )
    except ConfigurationError as obstacle:
        return Campaign(
            brief, items, segment_id, faults=(*faults, obstacle), remarks=tuple(remarks), runs=False
        )
    return Campaign(brief, items, segment_id, left_out, tuple(faults), tuple(remarks))


def with_clients_file(campaign: Campaign, spark: SparkSession) -> Campaign:
    """The campaign, unless the list of clients that it is to leave out is missing: then it cannot run."""
    listed = campaign.brief.exclude.clients_file
    if listed is None:
        return campaign
    try:
        require_path(spark, Source(campaign.brief.id, listed, "text"))
    except InputRefusedError as error:
        fault = _broken(campaign.brief, "exclude.clients_file", f"{listed} {error.rule}", error.mend)
        return dataclasses.replace(campaign, faults=(*campaign.faults, fault), runs=False)
    return campaign


def nearest_items(theme: NDArray[np.float32], catalogue: Catalogue, count: int) -> dict[str, float]:
    """Available articles nearest to a theme, nearest first, each with its cosine as weight; none at or below 0."""
    cosines = np.round((catalogue.embeddings @ theme).astype(np.float64), 6)
    order = np.lexsort((np.arange(len(cosines)), -cosines))
    chosen = order[catalogue.available[order] & (cosines[order] > 0)][:count]
    return {str(catalogue.item_ids[code]): float(cosines[code]) for code in chosen}


def segment_of(brief: Brief, key: str, named: str, segments: Mapping[str, str]) -> str:
    """Identifier of the segment that a brief names.

    Raises
    ------
    ConfigurationError
        If no segment, or more than one, is called so.
    """
    if named in segments:
        return named
    found = sorted(id_ for id_, name in segments.items() if name == named)
    if len(found) == 1:
        return found[0]
    if found:
        raise _broken(
            brief, key, f"{len(found)} segments are called '{named}'", f"write one of {', '.join(found)}"
        )
    known = [*segments, *sorted(set(segments.values()))]
    near = difflib.get_close_matches(named, known, n=1, cutoff=0.5)
    mend = f"did you mean '{near[0]}'" if near else "look at gold.segments of the night"
    raise _broken(brief, key, f"no segment of the night is called '{named}'", mend)


def _named_items(brief: Brief, catalogue: Catalogue) -> tuple[dict[str, float], list[ConfigurationError]]:
    """Articles of the target that are in the catalogue, all of one weight, and what is to be said of the others."""
    asked = sorted(set(brief.target.items or ()))
    there = set(catalogue.item_ids[np.isin(catalogue.item_ids, np.asarray(asked, np.str_))].tolist())
    unknown = [item for item in asked if item not in there]
    if not unknown:
        return dict.fromkeys(asked, 1.0), []
    named = ", ".join(unknown[:_NAMED]) + (" and others" if len(unknown) > _NAMED else "")
    error = _broken(
        brief,
        "target.items",
        f"{len(unknown)} of {len(asked)} articles are not in the catalogue ({named})",
        _nearest_item(unknown[0], catalogue),
    )
    if not there:
        raise error
    return {item: 1.0 for item in asked if item in there}, [error]


def _not_available(items: Mapping[str, float], catalogue: Catalogue) -> list[str]:
    on_sale = set(catalogue.item_ids[catalogue.available].tolist())
    missing = sum(item not in on_sale for item in items)
    return [f"{missing} of {len(items)} articles are not available"] if missing else []


def _nearest_item(item_id: str, catalogue: Catalogue) -> str:
    if len(catalogue.item_ids) <= _SEARCHED:
        near = difflib.get_close_matches(item_id, catalogue.item_ids.tolist(), n=1, cutoff=0.5)
        if near:
            return f"did you mean '{near[0]}' for '{item_id}'"
    return "name articles as silver.items does"


def _broken(brief: Brief, key: str, rule: str, mend: str) -> ConfigurationError:
    return ConfigurationError(f"campaign {brief.id} key {key}", rule, mend)
