"""The most similar clients of every client by an approximate index, for lakes where all against all takes too long.

An inverted file of FAISS (Douze et al., "The Faiss library", 2024): profiles are put into cells around centres found by
k-means, and a query is compared with the profiles of the nearest cells alone, exactly. One task builds the index below
the session's checkpoints; the tasks that search map it into memory. So a cluster needs ``spark.checkpoint.dir`` on
storage that all workers mount, and the worker that builds needs memory for all profiles.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any
from urllib.parse import urlparse
from urllib.request import url2pathname

import numpy as np

from isrf_pipeline.errors import EnvironmentMismatchError

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import DataFrame

_NEIGHBOURS = "src string, dst array<string>, similarity array<float>"
_SEED = 7
#: Profiles of one cell that k-means looks at.
_SAMPLE_A_CELL = 64
#: Profiles that are added or searched at once.
_ROWS_AT_ONCE = 8192


def cells_for(clients: int) -> int:
    """Cells of an index over so many clients: four times the root, as is usual, and enough profiles in each."""
    return max(1, min(int(4 * math.sqrt(clients)), clients // 40))


def top_similar_approximate(
    queries: DataFrame, base: DataFrame, k: int, probed_cells: int, folder: str
) -> DataFrame:
    """The ``k`` most similar clients of every query as far as the index finds them.

    Parameters
    ----------
    queries, base
        Columns user_id and embedding (array<float>, unit length, all of one dimension); may be the same frame.
    k
        Neighbours of each client, itself excluded; fewer where the cells searched hold no more.
    probed_cells
        Cells that a query is compared with; more finds more and takes longer.
    folder
        Where the index is written; it must stay until the result was computed.

    Returns
    -------
    DataFrame
        As of :func:`isrf_pipeline.graphs.similarity.top_similar_packed`; ties by the hash of dst.

    Raises
    ------
    EnvironmentMismatchError
        If FAISS is not installed or the folder is no path that workers can map into memory.
    """
    from pyspark.sql import functions as F

    require_faiss()
    path = _local_path(folder)
    count = base.count()
    if count == 0:
        nothing = F.array()
        return queries.select(
            F.col("user_id").alias("src"),
            nothing.cast("array<string>").alias("dst"),
            nothing.cast("array<float>").alias("similarity"),
        )
    cells = cells_for(count)
    # By hash: the profiles that k-means looks at are a draw, and the same one whatever the partitioning.
    place = F.shiftrightunsigned(F.xxhash64("user_id"), 33)
    ordered = base.repartition(1).sortWithinPartitions(place, "user_id")

    def build(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        import pyarrow as pa

        _write_index(batches, cells, path)
        yield pa.RecordBatch.from_pydict({"done": [True]})

    ordered.select("user_id", "embedding").mapInArrow(build, "done boolean").collect()

    def search(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        yield from _searched(batches, path, k, probed_cells)

    return queries.select("user_id", "embedding").mapInArrow(search, _NEIGHBOURS)


def require_faiss() -> None:
    """Say what to do where FAISS is missing.

    Raises
    ------
    EnvironmentMismatchError
        If it cannot be imported.
    """
    try:
        import faiss  # noqa: F401
    except ImportError:
        raise EnvironmentMismatchError(
            "user_graph.exact_users",
            "the lake has more clients, and their approximate index needs the package faiss-cpu, which is missing",
            "install isrf-pipeline[index] on driver and workers, or raise the setting",
        ) from None


def _local_path(folder: str) -> str:
    url = urlparse(folder)
    if url.scheme not in ("", "file"):
        raise EnvironmentMismatchError(
            f"spark.checkpoint.dir ({folder})",
            "the approximate index is mapped into memory and cannot lie in an object store",
            "name a folder that driver and workers mount, or raise user_graph.exact_users",
        )
    return url2pathname(url.path)


def _write_index(batches: Iterator[pa.RecordBatch], cells: int, path: str) -> None:
    """Train on the first profiles, add all of them; identifiers go beside the index, in its order."""
    from pathlib import Path

    import faiss
    import pyarrow as pa

    folder = Path(path)
    folder.mkdir(parents=True, exist_ok=True)
    index: Any = None
    waiting: list[np.ndarray[tuple[int, int], np.dtype[np.float32]]] = []
    wanted = cells * _SAMPLE_A_CELL
    schema = pa.schema([("user_id", pa.string())])
    with pa.OSFile(str(folder / "ids.arrow"), "wb") as file, pa.ipc.new_file(file, schema) as ids:
        for batch in batches:
            vectors = _vectors(batch)
            ids.write_batch(pa.RecordBatch.from_arrays([batch.column("user_id")], schema=schema))
            if index is not None:
                index.add(vectors)
                continue
            waiting.append(vectors)
            if sum(map(len, waiting)) >= wanted:
                index = _trained(np.concatenate(waiting), cells)
        if index is None:
            index = _trained(np.concatenate(waiting), cells)
    faiss.write_index(index, str(folder / "profiles.faiss"))


def _trained(vectors: np.ndarray[tuple[int, int], np.dtype[np.float32]], cells: int) -> Any:
    import faiss

    width = vectors.shape[1]
    index = faiss.IndexIVFFlat(faiss.IndexFlatIP(width), width, cells, faiss.METRIC_INNER_PRODUCT)
    index.cp.seed = _SEED
    # As few as there are may be less than k-means likes to be told of.
    index.cp.min_points_per_centroid = 1
    index.cp.spherical = True
    index.train(vectors[: cells * _SAMPLE_A_CELL])
    index.add(vectors)
    return index


def _searched(
    batches: Iterator[pa.RecordBatch], path: str, k: int, probed_cells: int
) -> Iterator[pa.RecordBatch]:
    import faiss
    import pyarrow as pa

    # One thread a task: tasks run side by side.
    faiss.omp_set_num_threads(1)
    index: Any = faiss.read_index(f"{path}/profiles.faiss", faiss.IO_FLAG_MMAP | faiss.IO_FLAG_READ_ONLY)
    index.nprobe = min(probed_cells, index.nlist)
    names = pa.ipc.open_file(pa.memory_map(f"{path}/ids.arrow")).read_all().column(0).combine_chunks()
    for batch in batches:
        for start in range(0, batch.num_rows, _ROWS_AT_ONCE):
            rows = batch.slice(start, _ROWS_AT_ONCE)
            # One more than wanted: the client himself is among them, and is taken out.
            similarity, places = index.search(_vectors(rows), k + 1)
            queries = np.array(rows.column("user_id").to_pylist(), dtype=object)
            found = names.take(pa.array(np.maximum(places, 0).ravel())).to_pylist()
            listed = np.array(found, dtype=object).reshape(places.shape)
            kept = (places >= 0) & (listed != queries[:, None])
            # Rounded and ordered as the exact search does it: positions are in the order of the hash.
            rounded = np.rint((similarity.astype(np.float64) + 1) * (1 << 20)) / (1 << 20) - 1
            order = np.lexsort((places, -rounded, ~kept), axis=1)
            kept, listed, rounded = (
                np.take_along_axis(part, order, axis=1)[:, :k] for part in (kept, listed, rounded)
            )
            offsets = pa.array(np.concatenate([[0], np.cumsum(kept.sum(axis=1))]).astype(np.int32))
            yield pa.RecordBatch.from_arrays(
                [
                    rows.column("user_id"),
                    pa.ListArray.from_arrays(offsets, pa.array(listed[kept].tolist(), pa.string())),
                    pa.ListArray.from_arrays(offsets, pa.array(rounded[kept].astype(np.float32))),
                ],
                names=["src", "dst", "similarity"],
            )


def _vectors(batch: pa.RecordBatch) -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
    flat = batch.column("embedding").flatten().to_numpy(zero_copy_only=False).astype(np.float32)
    return np.ascontiguousarray(flat.reshape(batch.num_rows, -1) if batch.num_rows else flat.reshape(0, 1))
