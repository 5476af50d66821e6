"""The network of the peer sasrec (torch): causal self-attention over items and places (Kang and McAuley, ICDM 2018)."""

from __future__ import annotations

from typing import Any

import torch

from isrf_pipeline.config.settings import SasRecSettings


class SelfAttentionNetwork(torch.nn.Module):  # type: ignore[misc]
    """Blocks of attention that look at what came before; items have an identity and nothing else.

    Parameters
    ----------
    n_items
        Size of the catalogue.
    settings
        Width, layers, heads, steps, dropout and sharpness.
    """

    def __init__(self, n_items: int, settings: SasRecSettings) -> None:
        super().__init__()
        self.identity = torch.nn.Embedding(n_items, settings.width)
        torch.nn.init.normal_(self.identity.weight, std=0.02)
        self.positions = torch.nn.Parameter(0.02 * torch.randn(settings.steps, settings.width))
        self.dropout = torch.nn.Dropout(settings.dropout)
        self.blocks = torch.nn.ModuleList(
            _Block(settings.width, settings.heads, settings.dropout) for _ in range(settings.layers)
        )
        self.norm = torch.nn.LayerNorm(settings.width)
        self.sharpness = 1 / settings.temperature

    def items(self, codes: Any) -> Any:
        """Vectors of some items: (..., width)."""
        return self.identity(codes)

    def forward(self, codes: Any) -> Any:
        """(clients, steps, width) state after each item of (clients, steps) codes, oldest first."""
        states = self.identity(codes) * self.identity.embedding_dim**0.5
        states = self.dropout(states + self.positions[: codes.shape[1]])
        for block in self.blocks:
            states = block(states)
        return self.norm(states)


class _Block(torch.nn.Module):  # type: ignore[misc]
    """Attention to what came before, then a layer for each place; both are added to what they read."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.attention_norm = torch.nn.LayerNorm(width)
        self.read = torch.nn.Linear(width, 3 * width)
        self.write = torch.nn.Linear(width, width)
        self.forward_norm = torch.nn.LayerNorm(width)
        self.forward_layers = torch.nn.Sequential(
            torch.nn.Linear(width, width),
            torch.nn.GELU(),
            torch.nn.Dropout(dropout),
            torch.nn.Linear(width, width),
        )
        self.dropout = torch.nn.Dropout(dropout)

    def forward(self, states: Any) -> Any:
        """(clients, steps, width) to the same."""
        clients, steps, width = states.shape
        by_head = self.read(self.attention_norm(states)).view(
            clients, steps, 3, self.heads, width // self.heads
        )
        query, key, value = by_head.permute(2, 0, 3, 1, 4)
        # Histories are filled up at their end, so that looking back alone keeps the filling out.
        seen = torch.nn.functional.scaled_dot_product_attention(query, key, value, is_causal=True)
        states = states + self.dropout(self.write(seen.transpose(1, 2).reshape(clients, steps, width)))
        return states + self.dropout(self.forward_layers(self.forward_norm(states)))
