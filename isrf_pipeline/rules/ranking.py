"""Ranks items for every client under the business rules, and names the rule behind each place and each item kept out.

The order is fixed. Availability, exclusion lists, what was bought and, where it removes, the price band decide what may
be listed; where the price band demotes, what lies outside stands behind all the rest; then one greedy pass over the
strongest candidates fills the list under caps, quota and diversity (:mod:`isrf_pipeline.rules.greedy`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from isrf_pipeline.config.settings import InteractionGraphSettings, OptimizeSettings, RulesSettings
from isrf_pipeline.interests.blocks import ScoredBlock, code_lists, scored_blocks
from isrf_pipeline.interests.grounds import because_items
from isrf_pipeline.interests.model import InterestModel
from isrf_pipeline.interests.propagation import FusionWeights
from isrf_pipeline.interests.ranking import RANKED_SCHEMA
from isrf_pipeline.interests.reranking import Reranking
from isrf_pipeline.rules.attribution import named_reasons, places_within, withheld_by
from isrf_pipeline.rules.filters import forbidden_by, outside_band
from isrf_pipeline.rules.greedy import Filled, Ordered, fill_lists
from isrf_pipeline.rules.items import ItemRules
from isrf_pipeline.rules.names import DIVERSITY, NEW_ARRIVALS, PRICE_BAND, REPLENISHABLE
from isrf_pipeline.rules.pool import BlockRules, Pool, block_pool

if TYPE_CHECKING:
    from pyspark import Broadcast
    from pyspark.sql import DataFrame

RULED_SCHEMA = (
    f"{RANKED_SCHEMA}, rules array<string>, new_arrival boolean, plain_rank int, withheld_by string"
)
#: Numbers of embeddings that are held at once: 64 MiB.
_VECTOR_VALUES = 2**24


@dataclass(frozen=True)
class ListRules:
    """The rules that lists are made under; small enough to broadcast.

    Attributes
    ----------
    items
        What is known of the items.
    settings
        What is declared.
    only_available
        Whether only available items may be listed.
    candidates
        How many of a client's strongest items are ordered anew.
    """

    items: ItemRules
    settings: RulesSettings
    only_available: bool
    candidates: int


def rank_under_rules(
    inputs: DataFrame,
    model: Broadcast[InterestModel],
    rules: Broadcast[ListRules],
    weights: FusionWeights,
    graph: InteractionGraphSettings,
    optimize: OptimizeSettings,
    top_n: int,
    reranking: Reranking | None = None,
) -> DataFrame:
    """Rank items for every client under the business rules.

    Parameters
    ----------
    inputs
        As for :func:`isrf_pipeline.interests.ranking.rank_items`, with today (int) and the columns of
        :func:`isrf_pipeline.rules.clients.with_client_rules`.
    model, rules
        Broadcast item model and rules.
    weights, graph, optimize, top_n, reranking
        As for :func:`isrf_pipeline.interests.ranking.rank_items`.

    Returns
    -------
    DataFrame
        The columns of :func:`isrf_pipeline.interests.ranking.rank_items` and

        - rules (array<string>): rules that gave the item its place, null where the model's order did;
        - new_arrival (boolean): whether the item is a new arrival; null where there is no quota;
        - plain_rank (int): place in the list that the model would give without any rule, null beyond its end;
        - withheld_by (string): null for an item of the list. An item that the model's list holds and this one does
          not has a row as well, without rank and because_items, which names here the rule that kept it out.
    """

    def rank(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        items = model.value
        for block in scored_blocks(batches, items, weights, graph, optimize):
            yield ruled_block(block, items, rules.value, graph, top_n, reranking)

    return inputs.mapInArrow(rank, RULED_SCHEMA)


def ruled_block(
    block: ScoredBlock,
    items: InterestModel,
    rules: ListRules,
    graph: InteractionGraphSettings,
    top_n: int,
    reranking: Reranking | None = None,
) -> pa.RecordBatch:
    """Lists of one block of clients; see :func:`rank_under_rules`."""
    settings = rules.settings
    said = _what_rules_say(block.rows, items, rules)
    places = min(top_n, items.n_items)
    count = max(rules.candidates, places) if settings.reorders else places
    pool = block_pool(block, items, graph, said, places, count, reranking)
    at = (pool.rows, pool.codes)
    forbidden = said.forbidden[at]
    demoted = np.zeros(len(forbidden), bool) if said.demoted is None else said.demoted[at]
    new = np.zeros(len(forbidden), bool) if said.new is None else said.new[at]
    plain_rank = _plain_ranks(pool, block.rows.num_rows, places)
    grid = _grid(pool, forbidden == 0, demoted, block.rows.num_rows)
    filled = _filled(pool, grid, demoted, new, items, rules, places)
    # Position in the pool of each place of each list, and which rules gave it.
    listed = filled.picks >= 0
    position = np.where(listed, np.take_along_axis(grid, np.maximum(filled.picks, 0), axis=1), 0)
    again = np.zeros(said.forbidden.shape, bool)
    for row, codes in enumerate(code_lists(block.rows, "again")):
        again[row, codes] = True
    reasons = {
        NEW_ARRIVALS: filled.by_quota[listed],
        DIVERSITY: filled.by_diversity[listed],
        PRICE_BAND: demoted[position[listed]],
        REPLENISHABLE: again[at][position[listed]],
    }
    in_list = position[listed]
    held = np.zeros(len(pool.rows), bool)
    held[in_list] = True
    out = np.flatnonzero((plain_rank > 0) & ~held)
    brought_in = np.zeros(listed.shape, bool)
    brought_in[listed] = filled.by_quota[listed] & (plain_rank[in_list] == 0)
    withheld = withheld_by(
        out,
        pool.rows,
        grid,
        forbidden,
        demoted,
        {cap.rule: full for cap, full in zip(rules.items.caps, filled.full, strict=True)},
        brought_in.sum(axis=1) if settings.diversity.active else None,
    )
    top = np.where(listed, pool.codes[position], 0)
    chosen = np.concatenate([in_list, out])
    owner = np.concatenate([np.nonzero(listed)[0], pool.rows[out]])
    nothing = len(out)
    explicit = pool.explicit(chosen)
    has_history = np.diff(block.rows.column("codes").offsets.to_numpy()) > 0
    rank = np.concatenate([np.cumsum(listed, axis=1)[listed], np.zeros(nothing)]).astype(np.int32)
    grounds = because_items(block.rows, top, listed, items, block.weights, graph)
    return pa.RecordBatch.from_pydict(
        {
            "user_id": block.rows.column("user_id").take(pa.array(owner)),
            "rank": pa.array(rank, mask=rank == 0),
            "item_id": pa.array(items.item_ids[pool.codes[chosen]].tolist(), pa.string()),
            "score": pool.scores[chosen],
            "explicit_share": explicit,
            "implicit_share": 1 - explicit,
            "because_items": pa.concat_arrays([grounds, pa.nulls(nothing, grounds.type)]),
            "has_history": has_history[owner],
            "rules": pa.concat_arrays([named_reasons(reasons), pa.nulls(nothing, pa.list_(pa.string()))]),
            "new_arrival": pa.array(new[chosen], mask=np.full(len(chosen), said.new is None)),
            "plain_rank": pa.array(plain_rank[chosen], mask=plain_rank[chosen] == 0),
            "withheld_by": pa.array([None] * len(in_list) + withheld, pa.string()),
        }
    )


def _what_rules_say(rows: pa.RecordBatch, items: InterestModel, rules: ListRules) -> BlockRules:
    band, quota = rules.settings.price_band.outside, rules.settings.new_arrivals
    today = rows.column("today").to_numpy(zero_copy_only=False).astype(np.int64)
    return BlockRules(
        forbidden_by(rows, items, rules.items, rules.only_available, band == "remove"),
        outside_band(rows, rules.items.price) if band == "demote" else None,
        rules.items.new_arrivals(today, quota) if quota.active else None,
    )


def _plain_ranks(pool: Pool, clients: int, places: int) -> NDArray[np.int32]:
    """(candidates,) place in the model's own list, from 1; 0 for what it does not hold."""
    model_s = np.flatnonzero(~pool.beside)
    order = model_s[np.lexsort((pool.codes[model_s], -pool.scores[model_s], pool.rows[model_s]))]
    place = places_within(pool.rows[order], clients)
    ranks = np.zeros(len(pool.rows), np.int32)
    ranks[order] = np.where(place < places, place + 1, 0)
    return ranks


def _grid(
    pool: Pool, allowed: NDArray[np.bool_], demoted: NDArray[np.bool_], clients: int
) -> NDArray[np.int64]:
    """(clients, candidates) positions in the pool of what may be listed, best first and demoted last; -1 beyond."""
    may = np.flatnonzero(allowed)
    keys = (pool.codes, -pool.closeness, -pool.scores, demoted, pool.rows)
    order = may[np.lexsort(tuple(key[may] for key in keys))]
    rows = pool.rows[order]
    place = places_within(rows, clients)
    grid = np.full((clients, int(place.max(initial=0)) + 1), -1, np.int64)
    grid[rows, place] = order
    return grid


def _filled(
    pool: Pool,
    grid: NDArray[np.int64],
    demoted: NDArray[np.bool_],
    new: NDArray[np.bool_],
    items: InterestModel,
    rules: ListRules,
    places: int,
) -> Filled:
    """The greedy pass, in slices of clients where embeddings are needed."""
    quota, weight = rules.settings.new_arrivals, rules.settings.diversity.weight
    rows_at_once = len(grid)
    if weight:
        rows_at_once = max(1, _VECTOR_VALUES // (grid.shape[1] * items.embeddings.shape[1]))
    parts = []
    for start in range(0, len(grid), max(1, rows_at_once)):
        own = grid[start : start + rows_at_once]
        present = own >= 0
        codes = np.where(present, pool.codes[own], 0)
        ordered = Ordered(
            present,
            _relevance(pool.scores[own], present & ~pool.beside[own]),
            demoted[own] & present,
            new[own] & present,
            pool.beside[own] & present,
            tuple(np.where(present, cap.codes[codes], -1) for cap in rules.items.caps),
            tuple(cap.most for cap in rules.items.caps),
            items.embeddings[codes] if weight else None,
        )
        parts.append(fill_lists(ordered, places, quota.at_least, quota.of_first, weight))
    return Filled(
        np.concatenate([part.picks for part in parts]),
        np.concatenate([part.by_quota for part in parts]),
        np.concatenate([part.by_diversity for part in parts]),
        tuple(np.concatenate(full) for full in zip(*(part.full for part in parts), strict=True)),
    )


def _relevance(scores: NDArray[np.float64], of_model: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Scores between the weakest (0) and the strongest (1) of the candidates that the model has made."""
    low = np.where(of_model, scores, np.inf).min(axis=1, keepdims=True)
    high = np.where(of_model, scores, -np.inf).max(axis=1, keepdims=True)
    span = np.where(np.isfinite(low) & (high > low), high - low, 1)
    return np.asarray(np.clip((scores - np.where(np.isfinite(low), low, 0)) / span, 0, 1))
