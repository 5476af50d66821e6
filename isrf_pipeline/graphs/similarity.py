"""The most similar clients of every client: exact blocked search by cosine.

Profiles travel as blocks, one packed row each. A task takes one block of queries, lets all blocks of the base stream
past it and keeps the best ``k`` of each query, so that memory is two blocks and one table of ``k`` columns whatever
the number of clients. Time grows with queries times base; the matrix products are most of it.

Cosines are rounded to 2^-20 before they are compared: what is equal up to float noise is a tie, and ties go by a
hash of the client, so that neither row order, nor partitioning, nor the kernels of a processor decide.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import DataFrame

_PACKED = "block int, user_ids array<string>, vectors binary"
_NEIGHBOURS = "src string, dst array<string>, similarity array<float>"
#: A key is one integer that sorts by rounded cosine, then by code: 22 bits, then 40.
_SCALE = 1 << 20
_CODE_BITS = 40
_POSITION_BITS = 20
_CODE_MASK = (1 << _CODE_BITS) - 1
#: Queries multiplied at once: the product with a block of 4,096 then stays within a processor's cache.
_QUERY_ROWS = 512
#: Smallest block of queries that is worth a task.
_MIN_QUERY_BLOCK = 512


def pack_profiles(profiles: DataFrame, block_users: int) -> DataFrame:
    """Pack profiles into blocks of about ``block_users`` clients.

    A client's block and place follow from its identifier's hash and the number of clients alone. ``profiles`` is
    read twice: materialise it where it is costly.

    Parameters
    ----------
    profiles
        Columns user_id and embedding (array<float>, all of one length).
    block_users
        Clients a block, at most 2^20.

    Returns
    -------
    DataFrame
        block, user_ids (array<string>, in hash order) and vectors (binary: float32, row-major, (clients, dimensions)).
    """
    return _pack(profiles, profiles.count(), block_users)


def top_similar(queries: DataFrame, base: DataFrame, k: int, block_users: int) -> DataFrame:
    """The ``k`` most similar clients of every query, one row a pair.

    Parameters
    ----------
    queries, base
        Columns user_id and embedding (array<float>, unit length, all of one dimension); may be the same frame.
    k
        Neighbours of each client, itself excluded; fewer where the base is smaller.
    block_users
        Clients in one block.

    Returns
    -------
    DataFrame
        src, dst, similarity (float) and rank (int, 1 is the most similar); ties by the hash of dst.
    """
    return pairs_of(top_similar_packed(queries, base, k, block_users))


def pairs_of(packed: DataFrame) -> DataFrame:
    """Rows of :func:`top_similar_packed` as pairs: src, dst, similarity and rank."""
    from pyspark.sql import functions as F

    return packed.select(
        "src", F.posexplode(F.arrays_zip("dst", "similarity")).alias("place", "pair")
    ).select(
        "src",
        F.col("pair.dst").alias("dst"),
        F.col("pair.similarity").alias("similarity"),
        (F.col("place") + 1).cast("int").alias("rank"),
    )


def packed_of(pairs: DataFrame) -> DataFrame:
    """Pairs of :func:`pairs_of` as one row a client: src, dst and similarity as arrays in the order of rank."""
    from pyspark.sql import functions as F

    return (
        pairs.groupBy("src")
        .agg(F.sort_array(F.collect_list(F.struct("rank", "dst", "similarity"))).alias("n"))
        .select("src", F.col("n.dst").alias("dst"), F.col("n.similarity").alias("similarity"))
    )


def top_similar_packed(
    queries: DataFrame, base: DataFrame, k: int, block_users: int, counts: tuple[int, int] | None = None
) -> DataFrame:
    """As :func:`top_similar`, one row a client.

    Parameters
    ----------
    queries, base, k, block_users
        As there.
    counts
        Clients of ``queries`` and of ``base`` where they are known; else both are counted.

    Returns
    -------
    DataFrame
        src, dst (array<string>) and similarity (array<float>), strongest first; empty arrays where there is no other
        client.
    """
    from pyspark.sql import functions as F

    if counts is None:
        n_base = base.count()
        counts = n_base if queries is base else queries.count(), n_base
    n_queries, n_base = counts
    slots = queries.sparkSession.sparkContext.defaultParallelism
    query_block = min(block_users, max(_MIN_QUERY_BLOCK, -(-n_queries // (4 * slots))))
    n_blocks = max(1, -(-n_queries // query_block))
    # Each side is shuffled once after packing, so that no pair of blocks packs anything again; the base is one
    # partition, so that every block of queries meets all of it within one task.
    left = (
        _pack(queries, n_queries, query_block)
        .repartition(n_blocks, "block")
        .select(
            F.col("block").alias("query_block"),
            F.col("user_ids").alias("query_ids"),
            F.col("vectors").alias("query_vectors"),
        )
    )
    right = _pack(base, n_base, block_users).repartition(1)
    pairs = left.crossJoin(right.hint("shuffle_replicate_nl"))
    return pairs.mapInArrow(_searcher(k), _NEIGHBOURS)


def _pack(profiles: DataFrame, n_users: int, block_users: int) -> DataFrame:
    import pyarrow as pa
    from pyspark.sql import functions as F

    n_blocks = max(1, -(-n_users // block_users))
    # Blocks are ranges of the hash: the order of (block, place) is the order of the hash.
    place = F.shiftrightunsigned(F.xxhash64("user_id"), 33)
    keyed = profiles.select(
        ((place * n_blocks) / F.lit(1 << 31)).cast("int").alias("block"),
        place.alias("place"),
        "user_id",
        "embedding",
    )

    def pack(rows: pa.Table) -> pa.Table:
        # Plain numpy: pyarrow's own sort loads pyarrow.compute, a second of every worker's start.
        lists = rows.column("embedding").combine_chunks()
        vectors = lists.flatten().to_numpy(zero_copy_only=False).astype(np.float32, copy=False)
        user_ids = np.array(rows.column("user_id").to_pylist(), dtype=object)
        order = np.lexsort((user_ids, rows.column("place").to_numpy()))
        return pa.table(
            {
                "block": rows.column("block").slice(0, 1),
                "user_ids": pa.array([user_ids[order].tolist()], pa.list_(pa.string())),
                "vectors": pa.array([vectors.reshape(len(order), -1)[order].tobytes()], pa.binary()),
            }
        )

    return keyed.groupBy("block").applyInArrow(pack, _PACKED)


def _searcher(k: int) -> Any:
    """The task function: pairs of blocks, all of one block of queries after another, to rows of neighbours."""

    def search(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        from pyspark import TaskContext
        from threadpoolctl import threadpool_limits

        context = TaskContext.get()
        # Tasks run side by side: each may use the cores that Spark counts for it, and no more.
        with threadpool_limits(context.cpus() if context is not None else 1):
            current: _QueryBlock | None = None
            for batch in batches:
                for pair in range(batch.num_rows):
                    block = batch.column("query_block")[pair].as_py()
                    if current is None or current.block != block:
                        if current is not None:
                            yield current.neighbours()
                        current = _QueryBlock(
                            block,
                            batch.column("query_ids")[pair].as_py(),
                            _floats(batch, "query_vectors", pair),
                            k,
                        )
                    current.compare(
                        batch.column("block")[pair].as_py(),
                        batch.column("user_ids")[pair].as_py(),
                        _floats(batch, "vectors", pair),
                    )
            if current is not None:
                yield current.neighbours()

    return search


class _QueryBlock:
    """One block of queries and the best ``k`` of the base seen so far.

    Parameters
    ----------
    block
        Number of the block.
    user_ids
        (queries,) identifiers.
    vectors
        float32, flat, row-major.
    k
        How many neighbours are kept.
    """

    def __init__(self, block: int, user_ids: list[str], vectors: NDArray[np.float32], k: int) -> None:
        self.block = block
        self._user_ids = user_ids
        self._vectors = vectors.reshape(len(user_ids), -1)
        self._k = k
        # -1 is the key of a place that is still free.
        self._best: NDArray[np.int64] = np.full((len(user_ids), k), -1, np.int64)
        self._bound: NDArray[np.float32] = np.full(len(user_ids), -np.inf, np.float32)
        self._base_ids: dict[int, list[str]] = {}

    def compare(self, block: int, user_ids: list[str], vectors: NDArray[np.float32]) -> None:
        """Let one block of the base, (clients, dimensions) given flat, compete for the places."""
        self._base_ids[block] = user_ids
        base = vectors.reshape(len(user_ids), -1)
        places = {user_id: place for place, user_id in enumerate(user_ids)}
        own = np.array([places.get(user_id, -1) for user_id in self._user_ids])
        # While places are free everybody is a candidate, so the first piece is small; it sets the bound for the rest.
        first = min(len(base), 4 * self._k) if not self._base_ids.keys() - {block} else 0
        for start, stop in ((0, first), (first, len(base))):
            for row in range(0, len(self._vectors), _QUERY_ROWS) if stop > start else ():
                rows = slice(row, min(row + _QUERY_ROWS, len(self._vectors)))
                similarity = self._vectors[rows] @ base[start:stop].T
                inside = np.flatnonzero((own[rows] >= start) & (own[rows] < stop))
                similarity[inside, own[rows][inside] - start] = np.nan
                self._admit(rows, similarity, (block << _POSITION_BITS) + start)

    def _admit(self, rows: slice, similarity: NDArray[np.float32], first_code: int) -> None:
        width = similarity.shape[1]
        flat = np.flatnonzero(similarity >= self._bound[rows, None])
        if not len(flat):
            return
        row, column = np.divmod(flat, width)
        rounded = np.rint((similarity.ravel()[flat].astype(np.float64) + 1) * _SCALE).astype(np.int64)
        keys = (rounded << _CODE_BITS) | (_CODE_MASK - (column + first_code))
        counts = np.bincount(row, minlength=similarity.shape[0])
        places = np.arange(len(row)) - (np.cumsum(counts) - counts)[row]
        pool = np.full((similarity.shape[0], self._k + int(counts.max())), -1, np.int64)
        pool[:, : self._k] = self._best[rows]
        pool[row, self._k + places] = keys
        best = np.partition(pool, pool.shape[1] - self._k, axis=1)[:, pool.shape[1] - self._k :]
        self._best[rows] = best
        weakest = best[:, 0]
        bound = ((weakest >> _CODE_BITS) - 1) / _SCALE - 1
        self._bound[rows] = np.where(weakest >= 0, bound, -np.inf)

    def neighbours(self) -> pa.RecordBatch:
        """Rows of src, dst and similarity, strongest first."""
        import pyarrow as pa

        best = -np.sort(-self._best, axis=1)
        taken = best >= 0
        keys = best[taken]
        code = _CODE_MASK - (keys & _CODE_MASK)
        block, position = code >> _POSITION_BITS, code & ((1 << _POSITION_BITS) - 1)
        order = sorted(self._base_ids)
        starts = np.zeros(max(order, default=0) + 1, np.int64)
        starts[order] = np.cumsum([0, *(len(self._base_ids[number]) for number in order)])[:-1]
        base_ids = np.array([user_id for number in order for user_id in self._base_ids[number]], dtype=object)
        offsets = pa.array(np.concatenate([[0], np.cumsum(taken.sum(axis=1))]), pa.int32())
        dst = pa.array(base_ids[starts[block] + position].tolist(), pa.string())
        similarity = ((keys >> _CODE_BITS) / _SCALE - 1).astype(np.float32)
        return pa.RecordBatch.from_arrays(
            [
                pa.array(self._user_ids, pa.string()),
                pa.ListArray.from_arrays(offsets, dst),
                pa.ListArray.from_arrays(offsets, pa.array(similarity, pa.float32())),
            ],
            names=["src", "dst", "similarity"],
        )


def _floats(batch: pa.RecordBatch, column: str, row: int) -> NDArray[np.float32]:
    return np.frombuffer(batch.column(column)[row].as_buffer(), np.float32)
