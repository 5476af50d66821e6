"""The trained sequence model as arrays: scores of all items for clients' histories, without torch."""

from __future__ import annotations

import functools
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from isrf_pipeline.arrays import arrays_from_bytes, arrays_to_bytes


@dataclass(frozen=True)
class SequenceModel:
    """A gated recurrent unit over item vectors (Cho et al., 2014), in the equations of torch.nn.GRU.

    Attributes
    ----------
    items
        (items, width) float32 vectors of the items: what is read, and in unit length what is expected.
    positions
        (steps, width) float32, added to the input by the place in the history that is read, oldest first.
    input_weight, input_bias
        (3 width, width) and (3 width,): reset, update and new gate.
    hidden_weight, hidden_bias
        As before, for the state.
    sharpness
        Factor that turns a cosine into a logit.
    """

    items: NDArray[np.float32]
    positions: NDArray[np.float32]
    input_weight: NDArray[np.float32]
    input_bias: NDArray[np.float32]
    hidden_weight: NDArray[np.float32]
    hidden_bias: NDArray[np.float32]
    sharpness: NDArray[np.float32]

    @functools.cached_property
    def targets(self) -> NDArray[np.float32]:
        """(items, width) unit vectors of the items."""
        lengths = np.linalg.norm(self.items, axis=1, keepdims=True)
        return np.asarray(self.items / np.maximum(lengths, 1e-12), dtype=np.float32)

    @property
    def steps(self) -> int:
        """Newest items of a history that are read."""
        return len(self.positions)

    def states(self, codes: NDArray[np.int64], lengths: NDArray[np.int64]) -> NDArray[np.float32]:
        """(clients, width) state after each history.

        Parameters
        ----------
        codes
            (clients, steps) item codes, oldest first, filled up at the end with any code.
        lengths
            (clients,) how many of them count; a client with none keeps the zero state.
        """
        width = self.items.shape[1]
        state = np.zeros((len(codes), width), np.float32)
        for step in range(int(lengths.max(initial=0))):
            read = np.flatnonzero(lengths > step)
            before = state[read]
            entered = (self.items[codes[read, step]] + self.positions[step]) @ self.input_weight.T
            kept = before @ self.hidden_weight.T + self.hidden_bias
            entered += self.input_bias
            reset = _sigmoid(entered[:, :width] + kept[:, :width])
            update = _sigmoid(entered[:, width : 2 * width] + kept[:, width : 2 * width])
            new = np.tanh(entered[:, 2 * width :] + reset * kept[:, 2 * width :])
            state[read] = (1 - update) * new + update * before
        return state

    def logits(self, codes: NDArray[np.int64], lengths: NDArray[np.int64]) -> NDArray[np.float32]:
        """(clients, items) cosine of state and item times the sharpness; 0 for clients without a history."""
        states = self.states(codes, lengths)
        states /= np.maximum(np.linalg.norm(states, axis=1, keepdims=True), 1e-12)
        return np.asarray(float(self.sharpness) * (states @ self.targets.T), dtype=np.float32)

    def to_bytes(self) -> bytes:
        """All arrays as one npz archive."""
        return arrays_to_bytes({field.name: getattr(self, field.name) for field in fields(self)})

    @classmethod
    def from_bytes(cls, content: bytes) -> SequenceModel:
        """Inverse of :meth:`to_bytes`."""
        return cls(**arrays_from_bytes(content))


def newest_steps(
    codes: NDArray[np.int32], lengths: NDArray[np.int64], steps: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Histories as rows: the newest ``steps`` items of each, oldest first.

    Parameters
    ----------
    codes
        Item codes of all histories, one after the other, each newest first.
    lengths
        (clients,) length of each history.
    steps
        Width of the result.

    Returns
    -------
    tuple of ndarray
        (clients, steps) codes, 0 beyond a history's end, and (clients,) how many count.
    """
    starts = np.cumsum(lengths) - lengths
    counted = np.minimum(lengths, steps)
    place = np.arange(steps)[None, :]
    read = place < counted[:, None]
    source = np.where(read, starts[:, None] + counted[:, None] - 1 - place, 0)
    flat = codes if len(codes) else np.zeros(1, np.int32)
    return np.where(read, flat[source], 0).astype(np.int64), counted.astype(np.int64)


def _sigmoid(values: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.asarray(0.5 * (1 + np.tanh(0.5 * values)), dtype=np.float32)
