"""Trains the map of profiles: symmetric contrastive alignment with soft targets (torch)."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from isrf_pipeline.alignment.model import AlignedMap, ProfileMap
from isrf_pipeline.config.settings import AlignmentSettings

_LARGEST_GRADIENT = 1.0


def contrastive_loss(implicit: Any, explicit: Any, temperature: float) -> Any:
    """How far implicit profiles are from being as alike as the clients' explicit interests are.

    The explicit side is the teacher: the softmax of its own similarities is the soft target, and no gradient reaches
    it. What should meet the target are the similarities of implicit with explicit interest, seen from both sides
    (ISRF's symmetric alignment), and those of implicit profiles among each other, which is what the user graph is
    built from. Each is a Kullback-Leibler divergence, so that 0 is perfect.

    Parameters
    ----------
    implicit, explicit
        (clients, dimensions) unit vectors, row by row of the same client; at least two clients.
    temperature
        Similarities are divided by it.

    Returns
    -------
    torch.Tensor
        Scalar: mean of both views across, plus the divergence within.
    """
    explicit = explicit.detach()
    taught = explicit @ explicit.T / temperature
    across = implicit @ explicit.T / temperature
    # Everybody is most similar to himself: among each other this would say all there is to say.
    himself = torch.eye(len(implicit), dtype=torch.bool)
    others = taught.masked_fill(himself, -math.inf)
    within = (implicit @ implicit.T / temperature).masked_fill(himself, -math.inf)
    views = (_divergence(across, taught) + _divergence(across.T, taught)) / 2
    return views + _divergence(within, others)


def _divergence(logits: Any, target: Any) -> Any:
    """Mean divergence of the rows' softmax from that of ``target``; both exclude the same places by -inf."""
    wanted = torch.softmax(target, dim=1)
    apart = torch.log_softmax(target, dim=1) - torch.log_softmax(logits, dim=1)
    return (wanted * torch.where(wanted > 0, apart, 0.0)).sum(dim=1).mean()


class MapNetwork(torch.nn.Module):  # type: ignore[misc]
    """The map while it is trained; see :class:`isrf_pipeline.alignment.model.ProfileMap`."""

    def __init__(self, start: ProfileMap) -> None:
        super().__init__()
        self.down = torch.nn.Parameter(torch.from_numpy(start.down.copy()))
        self.up = torch.nn.Parameter(torch.from_numpy(start.up.copy()))

    def forward(self, profiles: Any) -> Any:
        """(clients, dimensions) unit profiles after the map."""
        return torch.nn.functional.normalize(profiles + (profiles @ self.down) @ self.up, dim=1)


def first_map(dimensions: int, settings: AlignmentSettings) -> ProfileMap:
    """The identity, with directions drawn by the seed that a correction may come from."""
    generator = np.random.default_rng(settings.seed)
    down = generator.standard_normal((dimensions, settings.rank)) / math.sqrt(dimensions)
    return ProfileMap(down.astype(np.float32), np.zeros((settings.rank, dimensions), np.float32))


def train_map(
    implicit: NDArray[np.float32],
    explicit: NDArray[np.float32],
    start: ProfileMap | None,
    settings: AlignmentSettings,
    place: int = 0,
    processes: int = 1,
) -> AlignedMap:
    """Train the map batch by batch, from ``start`` on.

    Several processes see the same clients, draw the same order, take a batch each and average their gradients, so
    that all of them end with the same map. The same input, settings and number of processes and threads give the same
    map.

    Parameters
    ----------
    implicit, explicit
        (clients, dimensions) unit profiles and unit centres of explicit interest; the rows' order matters.
    start
        Map of the round before, or None in the first.
    settings
        Shape and pace.
    place, processes
        Which one of how many processes this is; with more than one torch's default process group must stand.

    Returns
    -------
    AlignedMap
        Trained map, loss before and after; ``start`` and losses of 0 where there are fewer than two clients.
    """
    start = start if start is not None else first_map(implicit.shape[1], settings)
    if len(implicit) < 2:
        return AlignedMap(start, 0.0, 0.0)
    network = MapNetwork(start)
    own, taught = torch.from_numpy(implicit), torch.from_numpy(explicit)
    before = _mean_loss(network, own, taught, settings)
    generator = np.random.default_rng(settings.seed)
    optimizer = torch.optim.AdamW(
        network.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay
    )
    for _ in range(settings.epochs):
        for rows in _batches(len(own), settings.batch, generator, place, processes):
            loss = contrastive_loss(network(own[rows]), taught[rows], settings.temperature)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            if processes > 1:
                _average_gradients(network, processes)
            torch.nn.utils.clip_grad_norm_(network.parameters(), _LARGEST_GRADIENT)
            optimizer.step()
    trained = ProfileMap(network.down.detach().numpy().copy(), network.up.detach().numpy().copy())
    return AlignedMap(trained, before, _mean_loss(network, own, taught, settings))


def _batches(
    clients: int, batch: int, generator: np.random.Generator, place: int, processes: int
) -> Iterator[Any]:
    """Rows of this process's batches of one pass; every process has equally many, of two clients at least."""
    order = generator.permutation(clients)
    steps = max(1, clients // (batch * processes))
    for members in np.array_split(order, steps):
        own = members[place::processes]
        yield torch.from_numpy(own if len(own) > 1 else members)


def _mean_loss(network: MapNetwork, own: Any, taught: Any, settings: AlignmentSettings) -> float:
    """Loss over all clients in their order, in batches of equal size."""
    parts = np.array_split(np.arange(len(own)), max(1, len(own) // settings.batch))
    with torch.no_grad():
        losses = [
            float(contrastive_loss(network(own[rows]), taught[rows], settings.temperature))
            for rows in map(torch.from_numpy, parts)
        ]
    return sum(losses) / len(losses)


def _average_gradients(network: MapNetwork, processes: int) -> None:
    for parameter in network.parameters():
        torch.distributed.all_reduce(parameter.grad)
        parameter.grad /= processes
