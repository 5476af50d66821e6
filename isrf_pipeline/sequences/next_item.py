"""Trains any network that reads histories to tell the next item: a sampled softmax (torch)."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

#: Batches whose histories are sorted by length together, so that rows of a batch are equally long.
_SORTED_BATCHES = 16
_LARGEST_GRADIENT = 5.0


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


class Pace(Protocol):
    """How a network is trained; settings have these by name."""

    @property
    def steps(self) -> int:
        """Newest items of a history that are read."""

    @property
    def batch(self) -> int:
        """Histories of one step of training."""

    @property
    def negatives(self) -> int:
        """Items that the true one is told from in a step."""

    @property
    def learning_rate(self) -> float:
        """Largest step of training."""

    @property
    def weight_decay(self) -> float:
        """Pull of the weights towards 0."""


class NextItemNetwork(Protocol):
    """A torch module that gives a state after each item of a history, and vectors of the items to compare it with."""

    sharpness: float

    def __call__(self, codes: Any) -> Any:
        """(clients, steps, width) state after each item of (clients, steps) codes, oldest first."""

    def items(self, codes: Any) -> Any:
        """Vectors of some items: (..., width)."""

    def parameters(self) -> Any:
        """What is trained."""

    def train(self) -> Any:
        """Switch dropout on."""


def train_phase(
    network: NextItemNetwork,
    n_items: int,
    phase: Phase,
    pace: Pace,
    generator: np.random.Generator,
    told: Callable[[int, float, float], None] | None = None,
) -> None:
    """Train on clients' histories, each item predicted from those before it.

    The loss is a softmax over the true next item and ``pace.negatives`` items drawn for the whole batch in
    proportion to ``sqrt(clients + 1)``, whose logits are corrected for how often they are drawn (Bengio and Senécal,
    2008). A logit is the cosine of state and item times the network's sharpness.

    Parameters
    ----------
    network
        Changed in place.
    n_items
        Size of the catalogue.
    phase
        Histories and epochs; the learning rate rises and falls once.
    pace
        How fast and against how many.
    generator
        Draws the order of histories and the negatives.
    told
        Called after each epoch with its number (from 1), mean loss and seconds.
    """
    drawn = (np.bincount(phase.codes, minlength=n_items) + 1.0) ** 0.5
    drawn /= drawn.sum()
    cumulated = np.cumsum(drawn)
    log_expected = torch.from_numpy(np.log(drawn * pace.negatives).astype(np.float32))
    optimizer = torch.optim.AdamW(network.parameters(), lr=pace.learning_rate, weight_decay=pace.weight_decay)
    batches = -(-int(np.count_nonzero(phase.lengths >= 2)) // pace.batch)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, pace.learning_rate, total_steps=batches * phase.epochs + 1
    )
    network.train()
    for epoch in range(1, phase.epochs + 1):
        clock, total, count = time.perf_counter(), 0.0, 0
        for rows, own in history_batches(phase, pace.batch, pace.steps, generator):
            others = np.searchsorted(cumulated, generator.random(pace.negatives) * cumulated[-1])
            loss, targets = _loss(network, rows, own, np.minimum(others, n_items - 1), log_expected)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(network.parameters(), _LARGEST_GRADIENT)
            optimizer.step()
            schedule.step()
            total, count = total + float(loss.detach()) * targets, count + targets
        if told is not None:
            told(epoch, total / max(count, 1), time.perf_counter() - clock)


def _loss(
    network: NextItemNetwork,
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


def history_batches(
    phase: Phase, batch: int, steps: int, generator: np.random.Generator
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """All histories of at least two items once, in batches of about one length.

    Parameters
    ----------
    phase
        The histories.
    batch
        Histories of one batch.
    steps
        Newest items of a history that are read.
    generator
        Draws the order.

    Returns
    -------
    iterator of tuple of ndarray
        (histories, longest) codes, oldest first and 0 beyond a history's end, at most one more than is read; and
        (histories,) how many count.
    """
    codes, lengths = phase.codes, phase.lengths
    starts = np.cumsum(lengths) - lengths
    usable = np.flatnonzero(lengths >= 2)
    order = generator.permutation(usable)
    for at in range(0, len(order), batch * _SORTED_BATCHES):
        chunk = order[at : at + batch * _SORTED_BATCHES]
        chunk = chunk[np.argsort(lengths[chunk], kind="stable")]
        for place in generator.permutation(-(-len(chunk) // batch)):
            members = chunk[place * batch : (place + 1) * batch]
            # One more than is read at once: the last item is only predicted.
            counted = np.minimum(lengths[members], steps + 1)
            first = starts[members] + lengths[members] - counted
            step = np.arange(int(counted.max()))[None, :]
            inside = step < counted[:, None]
            yield (
                np.where(inside, codes[np.where(inside, first[:, None] + step, 0)], 0).astype(np.int64),
                counted,
            )
