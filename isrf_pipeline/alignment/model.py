"""The trained map of profiles as arrays: applied to clients without torch."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from isrf_pipeline.arrays import arrays_from_bytes, arrays_to_bytes


@dataclass(frozen=True)
class ProfileMap:
    """A linear map that adds a correction of low rank to a profile, as in LoRA (Hu et al., 2022).

    All clients share it, so a client who was not there when it was trained has an aligned profile as well.

    Attributes
    ----------
    down
        (dimensions, rank) float32: what a profile is looked at for.
    up
        (rank, dimensions) float32: what is added for it; zero is the identity.
    """

    down: NDArray[np.float32]
    up: NDArray[np.float32]

    def apply(self, profiles: NDArray[np.float32]) -> NDArray[np.float32]:
        """(clients, dimensions) unit profiles after the map; a zero profile stays zero."""
        # Processors take another kernel for another number of rows: in double precision what a client gets does not
        # depend on who else is in the batch, once it is rounded.
        exact = profiles.astype(np.float64)
        mapped = exact + (exact @ self.down.astype(np.float64)) @ self.up.astype(np.float64)
        lengths = np.linalg.norm(mapped, axis=1, keepdims=True)
        return np.asarray(mapped / np.maximum(lengths, 1e-12), dtype=np.float32)

    def to_bytes(self) -> bytes:
        """Both arrays as one npz archive."""
        return arrays_to_bytes({field.name: getattr(self, field.name) for field in fields(self)})

    @classmethod
    def from_bytes(cls, content: bytes) -> ProfileMap:
        """Inverse of :meth:`to_bytes`."""
        return cls(**arrays_from_bytes(content))


@dataclass(frozen=True)
class AlignedMap:
    """A trained map and how far it came.

    Attributes
    ----------
    map
        As it is after training.
    loss_before, loss_after
        Contrastive loss before and after training, see :func:`isrf_pipeline.alignment.training.contrastive_loss`.
    """

    map: ProfileMap
    loss_before: float
    loss_after: float
