"""The sequence model while it is trained: a recurrent network (torch)."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from isrf_pipeline.config.settings import SequenceSettings
from isrf_pipeline.sequences.model import SequenceModel
from isrf_pipeline.sequences.next_item import Phase, train_phase


class SequenceNetwork(torch.nn.Module):  # type: ignore[misc]
    """A recurrent unit over items that have an identity of their own and a meaning.

    Parameters
    ----------
    meaning
        (items, dimensions) embeddings of the items' texts, zero where there is none.
    settings
        Width, steps, dropout and sharpness.
    """

    def __init__(self, meaning: NDArray[np.float32], settings: SequenceSettings) -> None:
        super().__init__()
        width = settings.width
        self.identity = torch.nn.Embedding(len(meaning), width)
        # Small beside the meaning: items that are seldom chosen stay where their text puts them.
        torch.nn.init.normal_(self.identity.weight, std=0.02)
        self.read_meaning = torch.nn.Linear(meaning.shape[1], width, bias=False)
        self.positions = torch.nn.Parameter(torch.zeros(settings.steps, width))
        self.recurrent = torch.nn.GRU(width, width, batch_first=True)
        self.dropout = torch.nn.Dropout(settings.dropout)
        self.sharpness = 1 / settings.temperature
        self.register_buffer("meaning", torch.from_numpy(meaning), persistent=False)

    def items(self, codes: Any) -> Any:
        """Vectors of some items: (..., width)."""
        return self.identity(codes) + self.read_meaning(self.meaning[codes])

    def forward(self, codes: Any) -> Any:
        """(clients, steps, width) state after each item of (clients, steps) codes, oldest first."""
        entered = self.dropout(self.items(codes) + self.positions[: codes.shape[1]])
        states, _ = self.recurrent(entered)
        return self.dropout(states)


def train_in_phases(
    phases: Sequence[Phase],
    meaning: NDArray[np.float32],
    settings: SequenceSettings,
    told: Callable[[int, int, float, float], None] | None = None,
) -> list[SequenceModel]:
    """Train on clients' histories, each item predicted from those before it; a phase goes on from the one before.

    See :func:`isrf_pipeline.sequences.next_item.train_phase` for the loss. The same input, settings and number of
    threads give the same models.

    Parameters
    ----------
    phases
        In their order; the learning rate rises and falls once in each.
    meaning
        (items, dimensions) embeddings of the items' texts.
    settings
        Shape and pace.
    told
        Called after each epoch with phase and epoch (from 1), mean loss and seconds.

    Returns
    -------
    list of SequenceModel
        The model as it is after each phase.
    """
    torch.manual_seed(settings.seed)
    generator = np.random.default_rng(settings.seed)
    network = SequenceNetwork(meaning, settings)
    models = []
    for number, phase in enumerate(phases, 1):
        told_of_phase = functools.partial(told, number) if told is not None else None
        train_phase(network, len(meaning), phase, settings, generator, told_of_phase)
        models.append(_as_arrays(network))
    return models


def _as_arrays(network: SequenceNetwork) -> SequenceModel:
    network.eval()
    with torch.no_grad():
        items = network.items(torch.arange(len(network.meaning)))
        unit = network.recurrent
        return SequenceModel(
            *(
                np.ascontiguousarray(tensor.detach().numpy(), dtype=np.float32)
                for tensor in (
                    items,
                    network.positions,
                    unit.weight_ih_l0,
                    unit.bias_ih_l0,
                    unit.weight_hh_l0,
                    unit.bias_hh_l0,
                    torch.tensor(network.sharpness),
                )
            )
        )
