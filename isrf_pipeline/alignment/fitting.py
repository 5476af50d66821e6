"""Trains the map where the clients are: in one task of Spark, or in several processes through TorchDistributor."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from isrf_pipeline.alignment.model import AlignedMap, ProfileMap
from isrf_pipeline.config.settings import AlignmentSettings
from isrf_pipeline.errors import EnvironmentMismatchError

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import DataFrame

#: What of a client is trained with: both sides as packed float32, in the order of ``tie``.
PAIRS_SCHEMA = "tie bigint, implicit binary, explicit binary"
_TRAINED = "content binary, loss_before double, loss_after double"


def fit_map(pairs: DataFrame, start: ProfileMap | None, settings: AlignmentSettings) -> AlignedMap | None:
    """Train the map of a round.

    With ``settings.processes`` above 1 the pairs, at most ``settings.clients`` of them and some kilobytes each, pass
    through the driver: TorchDistributor hands a function and its arguments to processes of its own.

    Parameters
    ----------
    pairs
        Columns of :data:`PAIRS_SCHEMA`, one row a client.
    start
        Map of the round before, or None in the first.
    settings
        Shape and pace, and in how many processes.

    Returns
    -------
    AlignedMap or None
        None where there is nobody to learn from.

    Raises
    ------
    EnvironmentMismatchError
        If the processes cannot be started or do not find each other.
    """
    if settings.processes > 1:
        return _fit_in_processes(pairs, start, settings)

    def fit(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        import pyarrow as pa

        trained = _trained(pa.Table.from_batches(batches), start, settings)
        if trained is not None:
            yield pa.RecordBatch.from_pydict(
                {
                    "content": pa.array([trained.map.to_bytes()], pa.binary()),
                    "loss_before": [trained.loss_before],
                    "loss_after": [trained.loss_after],
                }
            )

    row = pairs.repartition(1).mapInArrow(fit, _TRAINED).first()
    if row is None:
        return None
    return AlignedMap(ProfileMap.from_bytes(bytes(row["content"])), row["loss_before"], row["loss_after"])


def _trained(table: pa.Table, start: ProfileMap | None, settings: AlignmentSettings) -> AlignedMap | None:
    import torch

    from isrf_pipeline.alignment.training import train_map

    if not table.num_rows:
        return None
    # Spark gives a worker one thread for numeric libraries; no other task of this stage wants the cores.
    torch.set_num_threads(os.cpu_count() or 1)
    return train_map(*_sides(table), start, settings)


def _sides(table: pa.Table) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """(clients, dimensions) implicit and explicit side, by the hash of the client."""
    ordered = table.sort_by("tie")
    implicit, explicit = (
        np.frombuffer(b"".join(ordered.column(side).to_pylist()), np.float32)
        .reshape(ordered.num_rows, -1)
        .copy()
        for side in ("implicit", "explicit")
    )
    return implicit, explicit


def _fit_in_processes(
    pairs: DataFrame, start: ProfileMap | None, settings: AlignmentSettings
) -> AlignedMap | None:
    from pyspark.ml.torch.distributor import TorchDistributor

    table = pairs.toArrow()
    if not table.num_rows:
        return None
    local = str(pairs.sparkSession.sparkContext.master).startswith("local")
    distributor = TorchDistributor(num_processes=settings.processes, local_mode=local, use_gpu=False)
    try:
        trained: Any = distributor.run(
            train_in_process,
            *_sides(table),
            start.to_bytes() if start is not None else None,
            settings.model_dump(),
        )
    except RuntimeError as error:
        raise EnvironmentMismatchError(
            f"optimize.alignment.processes={settings.processes}",
            f"training in so many processes failed ({str(error).splitlines()[0]})",
            "see the log for what torch says, or set it to 1",
        ) from error
    content, before, after = trained
    return AlignedMap(ProfileMap.from_bytes(content), before, after)


def train_in_process(
    implicit: NDArray[np.float32],
    explicit: NDArray[np.float32],
    start: bytes | None,
    settings: dict[str, object],
) -> tuple[bytes, float, float]:
    """One of several processes; torchrun has told it by its environment which one it is and where the others are.

    Returns
    -------
    tuple
        The map as bytes, loss before and after: the same in all processes.
    """
    import torch

    from isrf_pipeline.alignment.training import train_map

    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo")
    try:
        trained = train_map(
            implicit,
            explicit,
            ProfileMap.from_bytes(start) if start is not None else None,
            AlignmentSettings.model_validate(settings),
            torch.distributed.get_rank(),
            torch.distributed.get_world_size(),
        )
    finally:
        torch.distributed.destroy_process_group()
    return trained.map.to_bytes(), trained.loss_before, trained.loss_after
