"""Which clients are alike: by exact search while they are few, by an approximate index beyond."""

from __future__ import annotations

from typing import TYPE_CHECKING

from isrf_pipeline.config.settings import UserGraphSettings
from isrf_pipeline.graphs.approximate import top_similar_approximate
from isrf_pipeline.graphs.draw import drawn_clients
from isrf_pipeline.graphs.hubs import with_capped_hubs
from isrf_pipeline.graphs.similarity import top_similar, top_similar_packed
from isrf_pipeline.lake.scratch import scratch_folder
from isrf_pipeline.logs import log_event

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

#: Clients by whom the recall of the index is measured.
_MEASURED = 1000


def similar_clients(queries: DataFrame, base: DataFrame, k: int, graph: UserGraphSettings) -> DataFrame:
    """The ``k`` most similar clients of every query, one row a client.

    Parameters
    ----------
    queries, base
        Columns user_id and embedding (array<float>, unit length); may be the same frame. Both are read twice.
    k
        Neighbours of each client, itself excluded.
    graph
        Up to how many clients the search is exact, how either search is done, and in how many lists one client may
        stand.

    Returns
    -------
    DataFrame
        src, dst (array<string>) and similarity (array<float>), strongest first.
    """
    found = _searched(queries, base, k, graph)
    return found if graph.max_followers is None else with_capped_hubs(found, graph.max_followers)


def _searched(queries: DataFrame, base: DataFrame, k: int, graph: UserGraphSettings) -> DataFrame:
    n_base = base.count()
    n_queries = n_base if queries is base else queries.count()
    # Few queries are compared with everybody faster than an index is built.
    if n_base <= graph.exact_users or n_queries <= _MEASURED:
        return top_similar_packed(queries, base, k, graph.block_users, (n_queries, n_base))
    # An index has the size of all profiles: it goes as soon as everybody's neighbours are found.
    with scratch_folder(queries.sparkSession, "neighbours") as folder:
        return top_similar_approximate(queries, base, k, graph.probed_cells, folder).localCheckpoint()


def neighbour_recall(profiles: DataFrame, found: DataFrame, k: int, graph: UserGraphSettings) -> float | None:
    """Share of the true ``k`` most similar clients that ``found`` has, over a thousand clients.

    Parameters
    ----------
    profiles
        user_id, embedding of everybody.
    found
        src, dst of everybody's neighbours; whom ``max_followers`` took out of a list counts as not found.
    k
        Neighbours of each client.
    graph
        See :func:`similar_clients`.

    Returns
    -------
    float or None
        None where the search was exact.
    """
    from pyspark.sql import functions as F

    if profiles.count() <= graph.exact_users:
        return None
    drawn = drawn_clients(profiles, _MEASURED).persist()
    exact = top_similar(drawn, profiles, k, graph.block_users).select("src", "dst").localCheckpoint()
    shared = found.join(F.broadcast(exact), ["src", "dst"], "left_semi").count()
    drawn.unpersist()
    recall = shared / max(exact.count(), 1)
    log_event("approximate_neighbours", recall=recall, probed_cells=graph.probed_cells)
    return recall
