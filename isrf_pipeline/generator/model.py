"""The trained generator as arrays, apart from torch: what is stored and broadcast."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from isrf_pipeline.arrays import arrays_from_bytes, arrays_to_bytes
from isrf_pipeline.config.generator_settings import GeneratorSettings
from isrf_pipeline.generator.trie import Trie, trie_of


@dataclass(frozen=True)
class GeneratorModel:
    """Everything that writing the next item's semantic id needs.

    Attributes
    ----------
    settings
        With which it was trained.
    ids
        (items, levels) semantic ids.
    items, explicit, implicit, own
        (items, width) float32 what an item adds to what is read: itself, explicit interest, the summed profiles of its
        clients, and its share in the profile of a client who has it.
    clients
        (items,) float32 how many clients ``implicit`` is summed over.
    nodes
        For each level of the trie, (nodes, width) float32 vectors of its nodes.
    bias
        For each level of the trie, (nodes,) float32 what speaks for a node whatever the history.
    reader
        Weights of :class:`isrf_pipeline.generator.network.Reader` by name.
    """

    settings: GeneratorSettings
    ids: NDArray[np.int64]
    items: NDArray[np.float32]
    explicit: NDArray[np.float32]
    implicit: NDArray[np.float32]
    own: NDArray[np.float32]
    clients: NDArray[np.float32]
    nodes: tuple[NDArray[np.float32], ...]
    bias: tuple[NDArray[np.float32], ...]
    reader: dict[str, NDArray[np.float32]]

    @functools.cached_property
    def trie(self) -> Trie:
        """Of the semantic ids."""
        return trie_of(self.ids)

    def to_bytes(self) -> bytes:
        """All arrays as one npz archive."""
        arrays: dict[str, NDArray[np.generic]] = {
            name: getattr(self, name) for name in ("ids", "items", "explicit", "implicit", "own", "clients")
        }
        arrays["settings"] = np.frombuffer(self.settings.model_dump_json().encode(), np.uint8)
        for level, (nodes, bias) in enumerate(zip(self.nodes, self.bias, strict=True)):
            arrays |= {f"nodes/{level}": nodes, f"bias/{level}": bias}
        arrays |= {f"reader/{name}": weights for name, weights in self.reader.items()}
        return arrays_to_bytes(arrays)

    @classmethod
    def from_bytes(cls, content: bytes) -> GeneratorModel:
        """Inverse of :meth:`to_bytes`."""
        arrays = arrays_from_bytes(content)
        levels = range(sum(name.startswith("nodes/") for name in arrays))
        plain = {name: arrays[name] for name in arrays if "/" not in name and name != "settings"}
        return cls(
            settings=GeneratorSettings.model_validate_json(arrays["settings"].tobytes()),
            nodes=tuple(arrays[f"nodes/{level}"] for level in levels),
            bias=tuple(arrays[f"bias/{level}"] for level in levels),
            reader={
                name.removeprefix("reader/"): arrays[name] for name in arrays if name.startswith("reader/")
            },
            **plain,
        )
