"""Writes the next items of many histories at once: beam search along the trie, which holds only what exists."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from isrf_pipeline.generator.device import chosen_device
from isrf_pipeline.generator.model import GeneratorModel
from isrf_pipeline.generator.network import Reader, recency

#: Numbers in the largest intermediate result, so that it stays within some hundred megabytes.
_NUMBERS_AT_ONCE = 2**24


class Decoder:
    """A generator made ready for search on one device.

    Parameters
    ----------
    model
        The trained generator.
    device
        See :func:`isrf_pipeline.generator.device.chosen_device`.
    """

    def __init__(self, model: GeneratorModel, device: str = "auto") -> None:
        self._device = chosen_device(device)
        self._settings = model.settings
        self._trie = model.trie
        self._reader = Reader(model.settings, len(model.nodes))
        self._reader.load_state_dict({name: torch.from_numpy(rows) for name, rows in model.reader.items()})
        self._reader.to(self._device).eval()
        self._items, self._explicit, self._implicit, self._own, self._clients = (
            self._moved(table)
            for table in (model.items, model.explicit, model.implicit, model.own, model.clients)
        )
        self._nodes = [self._moved(table) for table in model.nodes]
        self._unit = [torch.nn.functional.normalize(table, dim=-1) for table in self._nodes]
        self._bias = [self._moved(bias) for bias in model.bias]
        self._children = [self._moved(table) for table in self._trie.children]
        self._path = [self._moved(node) for node in self._trie.nodes]
        self._leaves = self._moved(self._trie.leaves)

    @torch.inference_mode()  # type: ignore[untyped-decorator]
    def states(
        self, codes: NDArray[np.int64], lengths: NDArray[np.int64], learned: NDArray[np.int64]
    ) -> NDArray[np.float32]:
        """(clients, width) state after each history; zero without one.

        Parameters
        ----------
        codes
            (clients, steps) item codes, oldest first, filled up at the end with any code.
        lengths
            (clients,) how many of them count.
        learned
            (clients,) how many of them, the oldest, the model's statistics hold of this very client.
        """
        longest = int(lengths.max(initial=0))
        result = np.zeros((len(codes), self._items.shape[1]), np.float32)
        some = np.flatnonzero(lengths > 0)
        if not len(some):
            return result
        read = self._moved(codes[some, :longest])
        place = torch.arange(longest, device=self._device)
        known = (place < self._moved(np.minimum(learned, lengths)[some])[:, None]).float()
        shares = known / known.sum(1, keepdim=True).clamp(min=1)
        own = (self._own[read] * shares.unsqueeze(-1)).sum(1, keepdim=True)
        others = self._implicit[read] - own * known.unsqueeze(-1)
        others = others / (self._clients[read] - known).clamp(min=1).unsqueeze(-1)
        weights = recency(longest, self._settings.decay, self._device)
        states = self._reader(self._items[read], weights @ self._explicit[read], weights @ others)
        last = self._moved(lengths[some]) - 1
        result[some] = states[torch.arange(len(some), device=self._device), last].cpu().numpy()
        return result

    def generate(
        self, states: NDArray[np.float32], allowed: NDArray[np.bool_], beam: int
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Items that most probably come next, among those allowed.

        A beam as wide as the catalogue finds the exact order; a narrower one may miss an item whose first codes are
        improbable.

        Parameters
        ----------
        states
            (clients, width); see :meth:`states`.
        allowed
            (clients, items) whether an item may be produced.
        beam
            Ids that are followed at each level.

        Returns
        -------
        tuple of ndarray
            (clients, at most ``beam``) item codes, -1 where there are no more, and log-probabilities, -inf there; most
            probable first, equal ones by code.
        """
        crowd = max(table.shape[1] * min(table.shape[0], beam) for table in self._children)
        at_once = max(1, _NUMBERS_AT_ONCE // max(crowd * states.shape[1], allowed.shape[1]))
        parts = [
            self._search(states[start : start + at_once], allowed[start : start + at_once], beam)
            for start in range(0, len(states), at_once)
        ]
        width = max((items.shape[1] for items, _ in parts), default=0)
        items = np.full((len(states), width), -1, np.int64)
        scores = np.full((len(states), width), -np.inf, np.float32)
        start = 0
        for found, values in parts:
            order = np.lexsort((found, -values), axis=1)
            rows = slice(start, start + len(found))
            scores[rows, : values.shape[1]] = np.take_along_axis(values, order, axis=1)
            items[rows, : values.shape[1]] = np.take_along_axis(found, order, axis=1)
            start += len(found)
        items[~np.isfinite(scores)] = -1
        return items, scores

    @torch.inference_mode()  # type: ignore[untyped-decorator]
    def _search(
        self, states: NDArray[np.float32], allowed: NDArray[np.bool_], beam: int
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        state = self._moved(states).unsqueeze(1)
        may = self._moved(allowed).float()
        followed = torch.zeros((len(states), 1), dtype=torch.long, device=self._device)
        scores = torch.zeros((len(states), 1), device=self._device)
        before = torch.zeros_like(state)
        for level, table in enumerate(self._children):
            children = table[followed]
            nodes = children.clamp(min=0)
            query = self._reader.query(level, state.expand(-1, followed.shape[1], -1), before)
            logits = self._logits(level, query, nodes)
            log_probability = torch.log_softmax(logits.masked_fill(children < 0, -torch.inf), dim=-1)
            # A prefix is alive while an allowed item lies below it.
            below = torch.zeros((len(states), len(self._nodes[level])), device=self._device)
            below.index_add_(1, self._path[level], may)
            alive = (below.gather(1, nodes.flatten(1)) > 0).view(nodes.shape) & (children >= 0)
            total = (scores.unsqueeze(-1) + log_probability).masked_fill(~alive, -torch.inf)
            scores, chosen = total.flatten(1).topk(min(beam, total[0].numel()), dim=1)
            followed = nodes.flatten(1).gather(1, chosen)
            before = self._nodes[level][followed]
        return self._leaves[followed].cpu().numpy(), scores.cpu().numpy()

    def _logits(self, level: int, query: Any, nodes: Any) -> Any:
        if level == 0:
            cosine = query @ self._unit[0][nodes[0, 0]].T
        else:
            cosine = torch.einsum("bkw,bkcw->bkc", query, self._unit[level][nodes])
        return cosine / self._settings.temperature + self._bias[level][nodes]

    def _moved(self, array: NDArray[Any]) -> Any:
        return torch.from_numpy(np.ascontiguousarray(array)).to(self._device)
