"""Trains the sequence model: next-item prediction with a sampled softmax (torch)."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from isrf_pipeline.config.settings import SequenceSettings
from isrf_pipeline.sequences.model import SequenceModel

#: Batches whose histories are sorted by length together, so that rows of a batch are equally long.
_SORTED_BATCHES = 16
_LARGEST_GRADIENT = 5.0


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


@dataclass(frozen=True)
class Phase:
    """Histories to learn from, and for how long.

    Attributes
    ----------
    codes
        Item codes of all histories, one after the other, each oldest first.
    lengths
        (clients,) length of each history.
    epochs
        Passes over them.
    """

    codes: NDArray[np.int32]
    lengths: NDArray[np.int64]
    epochs: int


def train_in_phases(
    phases: Sequence[Phase],
    meaning: NDArray[np.float32],
    settings: SequenceSettings,
    told: Callable[[int, int, float, float], None] | None = None,
) -> list[SequenceModel]:
    """Train on clients' histories, each item predicted from those before it; a phase goes on from the one before.

    The loss is a softmax over the true next item and ``settings.negatives`` items drawn for the whole batch in
    proportion to ``sqrt(clients + 1)``, whose logits are corrected for how often they are drawn (Bengio and Senécal,
    2008). The same input, settings and number of threads give the same models.

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
        _train_phase(network, phase, settings, generator, number, told)
        models.append(_as_arrays(network))
    return models


def _train_phase(
    network: SequenceNetwork,
    phase: Phase,
    settings: SequenceSettings,
    generator: np.random.Generator,
    number: int,
    told: Callable[[int, int, float, float], None] | None,
) -> None:
    n_items = len(network.meaning)
    drawn = (np.bincount(phase.codes, minlength=n_items) + 1.0) ** 0.5
    drawn /= drawn.sum()
    cumulated = np.cumsum(drawn)
    log_expected = torch.from_numpy(np.log(drawn * settings.negatives).astype(np.float32))
    optimizer = torch.optim.AdamW(
        network.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay
    )
    batches = -(-int(np.count_nonzero(phase.lengths >= 2)) // settings.batch)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, settings.learning_rate, total_steps=batches * phase.epochs + 1
    )
    network.train()
    for epoch in range(1, phase.epochs + 1):
        clock, total, count = time.perf_counter(), 0.0, 0
        for rows, own in _batches_of(phase, settings, generator):
            others = np.searchsorted(cumulated, generator.random(settings.negatives) * cumulated[-1])
            loss, targets = _loss(network, rows, own, np.minimum(others, n_items - 1), log_expected)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(network.parameters(), _LARGEST_GRADIENT)
            optimizer.step()
            schedule.step()
            total, count = total + float(loss.detach()) * targets, count + targets
        if told is not None:
            told(number, epoch, total / max(count, 1), time.perf_counter() - clock)


def _loss(
    network: SequenceNetwork,
    rows: NDArray[np.int64],
    lengths: NDArray[np.int64],
    negatives: NDArray[np.int64],
    log_expected: Any,
) -> tuple[Any, int]:
    codes = torch.from_numpy(rows)
    states = network(codes[:, :-1])
    known = torch.from_numpy(np.arange(rows.shape[1] - 1)[None, :] < (lengths - 1)[:, None])
    states = torch.nn.functional.normalize(states[known], dim=-1)
    targets = codes[:, 1:][known]
    against = torch.from_numpy(negatives)
    vectors = network.items(torch.cat([targets, against]))
    vectors = torch.nn.functional.normalize(vectors, dim=-1)
    true, others = vectors[: len(targets)], vectors[len(targets) :]
    positive = network.sharpness * (states * true).sum(-1, keepdim=True)
    positive = positive - log_expected[targets].unsqueeze(-1)
    negative = network.sharpness * (states @ others.T) - log_expected[against]
    negative = negative.masked_fill(targets.unsqueeze(-1) == against.unsqueeze(0), -math.inf)
    logits = torch.cat([positive, negative], dim=1)
    return torch.nn.functional.cross_entropy(logits, torch.zeros(len(targets), dtype=torch.long)), len(
        targets
    )


def _batches_of(
    phase: Phase, settings: SequenceSettings, generator: np.random.Generator
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Rows of a batch are histories of about one length: (clients, longest) codes, and lengths."""
    codes, lengths = phase.codes, phase.lengths
    starts = np.cumsum(lengths) - lengths
    usable = np.flatnonzero(lengths >= 2)
    order = generator.permutation(usable)
    for at in range(0, len(order), settings.batch * _SORTED_BATCHES):
        chunk = order[at : at + settings.batch * _SORTED_BATCHES]
        chunk = chunk[np.argsort(lengths[chunk], kind="stable")]
        for place in generator.permutation(-(-len(chunk) // settings.batch)):
            members = chunk[place * settings.batch : (place + 1) * settings.batch]
            # One more than is read at once: the last item is only predicted.
            counted = np.minimum(lengths[members], settings.steps + 1)
            first = starts[members] + lengths[members] - counted
            step = np.arange(int(counted.max()))[None, :]
            inside = step < counted[:, None]
            yield (
                np.where(inside, codes[np.where(inside, first[:, None] + step, 0)], 0).astype(np.int64),
                counted,
            )


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
