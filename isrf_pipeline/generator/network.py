"""The generator as a torch module: a causal transformer over items, and a query for each level of the next id."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from isrf_pipeline.config.generator_settings import GeneratorSettings
from isrf_pipeline.generator.trie import Trie


class Reader(torch.nn.Module):  # type: ignore[misc]
    """Reads histories, and tells for each level what to look for among the codes that may follow.

    Parameters
    ----------
    settings
        Shape.
    levels
        Levels of a whole id.
    """

    def __init__(self, settings: GeneratorSettings, levels: int) -> None:
        super().__init__()
        width = settings.width
        self.positions = torch.nn.Parameter(torch.zeros(settings.steps, width))
        self.layers = torch.nn.ModuleList(_Layer(settings) for _ in range(settings.layers))
        self.norm = torch.nn.LayerNorm(width)
        self.dropout = torch.nn.Dropout(settings.dropout)
        self.first = torch.nn.ModuleList(torch.nn.Linear(width, width) for _ in range(levels))
        self.given = torch.nn.ModuleList(torch.nn.Linear(width, width, bias=False) for _ in range(levels))
        self.second = torch.nn.ModuleList(torch.nn.Linear(width, width) for _ in range(levels))

    def forward(self, items: Any, explicit: Any, implicit: Any) -> Any:
        """(clients, steps, width) state after each item.

        Parameters
        ----------
        items
            (clients, steps, width) vectors of the items read, oldest first.
        explicit, implicit
            (clients, steps, width) interest that the items up to each step show, and that of others who have them.
        """
        hidden = self.dropout(items + explicit + implicit + self.positions[: items.shape[1]])
        for layer in self.layers:
            hidden = layer(hidden)
        return self.dropout(self.norm(hidden))

    def query(self, level: int, states: Any, before: Any) -> Any:
        """(..., width) unit query for a level.

        Parameters
        ----------
        level
            From 0.
        states
            (..., width) of histories.
        before
            (..., width) vector of the node that the codes before lead to; zero before the first level.
        """
        hidden = self.first[level](states) + self.given[level](before)
        hidden = states + self.second[level](torch.nn.functional.gelu(hidden))
        return torch.nn.functional.normalize(hidden, dim=-1)


class _Layer(torch.nn.Module):  # type: ignore[misc]
    """Attention to what came before and a feed-forward part, each after a normalisation."""

    def __init__(self, settings: GeneratorSettings) -> None:
        super().__init__()
        width = settings.width
        self.heads = settings.heads
        self.norm_attention = torch.nn.LayerNorm(width)
        self.attention = torch.nn.Linear(width, 3 * width)
        self.joined = torch.nn.Linear(width, width)
        self.norm_forward = torch.nn.LayerNorm(width)
        self.wide = torch.nn.Linear(width, 2 * width)
        self.narrow = torch.nn.Linear(2 * width, width)
        self.dropout = torch.nn.Dropout(settings.dropout)

    def forward(self, hidden: Any) -> Any:
        clients, steps, width = hidden.shape
        mixed = self.attention(self.norm_attention(hidden))
        query, key, value = mixed.view(clients, steps, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        seen = torch.nn.functional.scaled_dot_product_attention(query, key, value, is_causal=True)
        hidden = hidden + self.dropout(self.joined(seen.transpose(1, 2).reshape(clients, steps, width)))
        forward = self.narrow(torch.nn.functional.gelu(self.wide(self.norm_forward(hidden))))
        return hidden + self.dropout(forward)


@dataclass(frozen=True)
class ItemContents:
    """What is known of items before training.

    Attributes
    ----------
    meaning
        (items, dimensions) embeddings of the items' texts.
    explicit
        (items, dimensions) meaning of each item and of what the graph joins to it.
    implicit
        (items, dimensions) sum of the profiles of each item's clients.
    clients
        (items,) how many clients that sum is over.
    """

    meaning: NDArray[np.float32]
    explicit: NDArray[np.float32]
    implicit: NDArray[np.float32]
    clients: NDArray[np.float32]


class GeneratorNetwork(torch.nn.Module):  # type: ignore[misc]
    """Reader, vectors of items and vectors of the trie's nodes.

    Parameters
    ----------
    contents
        Of the items.
    trie
        Of their semantic ids.
    settings
        Shape.
    """

    def __init__(self, contents: ItemContents, trie: Trie, settings: GeneratorSettings) -> None:
        super().__init__()
        width, dimensions = settings.width, contents.meaning.shape[1]
        self.reader = Reader(settings, len(trie.nodes))
        self.sharpness = 1 / settings.temperature
        self.decay = settings.decay
        # Small beside the meaning: what is seldom chosen stays where its text puts it.
        self.read = torch.nn.ModuleList(_small(size, width) for size in trie.sizes)
        self.written = torch.nn.ModuleList(_small(size, width) for size in trie.sizes)
        self.bias = torch.nn.ModuleList(_small(size, 1) for size in trie.sizes)
        self.read_meaning = torch.nn.Linear(dimensions, width, bias=False)
        self.written_meaning = torch.nn.Linear(dimensions, width, bias=False)
        self.read_explicit = torch.nn.Linear(dimensions, width, bias=False)
        self.read_implicit = torch.nn.Linear(dimensions, width, bias=False)
        meaning = torch.from_numpy(contents.meaning)
        self.register_buffer("meaning", meaning, persistent=False)
        self.register_buffer("explicit", torch.from_numpy(contents.explicit), persistent=False)
        self.register_buffer("implicit", torch.from_numpy(contents.implicit), persistent=False)
        self.register_buffer("clients", torch.from_numpy(contents.clients), persistent=False)
        self.register_buffer("nodes", torch.from_numpy(np.stack(trie.nodes)), persistent=False)
        for level, size in enumerate(trie.sizes):
            node = torch.from_numpy(trie.nodes[level])
            sums = torch.zeros(size, dimensions).index_add_(0, node, meaning)
            mean = torch.nn.functional.normalize(sums, dim=-1)
            self.register_buffer(f"meaning_{level}", mean, persistent=False)
            self.register_buffer(
                f"children_{level}", torch.from_numpy(trie.children[level]), persistent=False
            )
            self.register_buffer(f"places_{level}", torch.from_numpy(trie.places[level]), persistent=False)

    def items(self, codes: Any) -> Any:
        """(..., width) vectors of items as they are read."""
        identity = sum(table(nodes[codes]) for table, nodes in zip(self.read, self.nodes, strict=True))
        return identity + self.read_meaning(self.meaning[codes])

    def nodes_of(self, level: int, nodes: Any) -> Any:
        """(..., width) vectors of nodes of a level as they are written."""
        meaning: Any = getattr(self, f"meaning_{level}")
        return self.written[level](nodes) + self.written_meaning(meaning[nodes])

    def states(self, codes: Any, lengths: Any) -> Any:
        """(clients, steps, width) state after each item of histories that the statistics contain.

        Parameters
        ----------
        codes
            (clients, steps or one more) item codes, oldest first; what goes beyond ``steps`` is only predicted.
        lengths
            (clients,) how many count.
        """
        counts = (torch.arange(codes.shape[1], device=codes.device) < lengths[:, None]).unsqueeze(-1)
        own = (self.meaning[codes] * counts).sum(1, keepdim=True) / counts.sum(1, keepdim=True).clamp(min=1)
        read = codes[:, : codes.shape[1] - 1] if codes.shape[1] > 1 else codes
        others = (self.implicit[read] - own) / (self.clients[read] - 1).clamp(min=1).unsqueeze(-1)
        weights = recency(read.shape[1], self.decay, codes.device)
        return self.reader(
            self.items(read),
            self.read_explicit(weights @ self.explicit[read]),
            self.read_implicit(weights @ others),
        )

    def loss(self, states: Any, targets: Any, smoothing: float) -> Any:
        """Mean negative log-probability of (targets,) items after (targets, width) states, level by level."""
        total = states.new_zeros(())
        before, above = torch.zeros_like(states), torch.zeros_like(targets)
        for level in range(len(self.nodes)):
            own = self.nodes[level][targets]
            children = getattr(self, f"children_{level}")
            # Where there is no choice there is nothing to learn.
            open_ = torch.arange(len(targets), device=targets.device)
            if children.shape[1] > 1:
                open_ = (children[:, 1] >= 0)[above].nonzero().squeeze(-1)
            if len(open_) and children.shape[1] > 1:
                query = self.reader.query(level, states[open_], before[open_])
                logits = self._logits(level, query, children[above[open_]])
                place = getattr(self, f"places_{level}")[own[open_]]
                losses = _cross_entropy(logits, place, smoothing)
                total = total + losses.sum() / len(targets)
            above = own
            if level + 1 < len(self.nodes):
                before = self.nodes_of(level, own)
        return total

    def _logits(self, level: int, query: Any, children: Any) -> Any:
        absent = children < 0
        nodes = children.clamp(min=0)
        size = len(self.bias[level].weight)
        if level == 0 or nodes.numel() >= size:
            # A node's meaning is mapped once and not for every step that chooses among its siblings.
            all_nodes = torch.arange(size, device=nodes.device)
            table = torch.nn.functional.normalize(self.nodes_of(level, all_nodes), dim=-1)
            vectors = table if level == 0 else torch.nn.functional.embedding(nodes, table)
        else:
            vectors = torch.nn.functional.normalize(self.nodes_of(level, nodes), dim=-1)
        cosine = query @ vectors.T if level == 0 else torch.einsum("tw,tcw->tc", query, vectors)
        bias = self.bias[level](nodes).squeeze(-1)
        return (self.sharpness * cosine + bias).masked_fill(absent, -torch.inf)


def recency(steps: int, decay: float, device: Any) -> Any:
    """(steps, steps) weights of the items up to each step, which add up to 1 in every row."""
    ago = torch.arange(steps, device=device)[:, None] - torch.arange(steps, device=device)[None, :]
    weights = torch.where(ago >= 0, decay ** ago.clamp(min=0).float(), 0.0)
    return weights / weights.sum(1, keepdim=True)


def _cross_entropy(logits: Any, places: Any, smoothing: float) -> Any:
    log_probability = torch.log_softmax(logits, dim=-1)
    loss = -log_probability.gather(1, places[:, None]).squeeze(1)
    if smoothing:
        there = torch.isfinite(logits)
        even = -torch.where(there, log_probability, 0.0).sum(-1) / there.sum(-1)
        loss = (1 - smoothing) * loss + smoothing * even
    return loss


def _small(size: int, width: int) -> Any:
    table = torch.nn.Embedding(size, width)
    torch.nn.init.normal_(table.weight, std=0.02 if width > 1 else 0.0)
    return table
