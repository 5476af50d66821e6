"""Trains the generator: at every step of a history the next item's id, level by level (torch)."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from isrf_pipeline.config.generator_settings import GeneratorSettings
from isrf_pipeline.generator.behaviour import client_profiles_of_items
from isrf_pipeline.generator.device import chosen_device
from isrf_pipeline.generator.model import GeneratorModel
from isrf_pipeline.generator.network import GeneratorNetwork, ItemContents
from isrf_pipeline.generator.trie import trie_of
from isrf_pipeline.sequences.next_item import Phase, history_batches

_LARGEST_GRADIENT = 5.0


def train_generator(
    phases: Sequence[Phase],
    ids: NDArray[np.int64],
    meaning: NDArray[np.float32],
    explicit: NDArray[np.float32],
    settings: GeneratorSettings,
    told: Callable[[int, int, float, float], None] | None = None,
) -> list[GeneratorModel]:
    """Train on clients' histories; a phase goes on from the one before, with the group interest of its own histories.

    Group interest at a step leaves the client out, whose later items would tell what comes next. The same input,
    settings, device and number of threads give the same models.

    Parameters
    ----------
    phases
        In their order; the learning rate rises and falls once in each.
    ids
        (items, levels) semantic ids.
    meaning
        (items, dimensions) embeddings of the items' texts.
    explicit
        (items, dimensions) meaning of each item and of what the graph joins to it.
    settings
        Shape and pace.
    told
        Called after each epoch with phase and epoch (from 1), mean loss and seconds.

    Returns
    -------
    list of GeneratorModel
        The model as it is after each phase.
    """
    device = chosen_device(settings.device)
    torch.manual_seed(settings.seed)
    generator = np.random.default_rng(settings.seed)
    trie = trie_of(ids)
    network: GeneratorNetwork | None = None
    models = []
    for number, whole in enumerate(phases, 1):
        phase = newest_of(whole, settings.steps + 1)
        sums, clients = client_profiles_of_items(phase.codes, phase.lengths, meaning)
        if network is None:
            contents = ItemContents(meaning, explicit, sums, clients)
            network = GeneratorNetwork(contents, trie, settings).to(device)
        else:
            network.implicit = torch.from_numpy(sums).to(device)
            network.clients = torch.from_numpy(clients).to(device)
        _train_phase(network, phase, settings, generator, number, told)
        models.append(_as_arrays(network, ids, settings))
    return models


def newest_of(phase: Phase, count: int) -> Phase:
    """The newest ``count`` items of each history.

    What a client adds to the group interest of others is then what a row of training holds, so that it can be taken
    out of the client's own.
    """
    left = np.repeat(np.cumsum(phase.lengths), phase.lengths) - np.arange(len(phase.codes))
    return Phase(phase.codes[left <= count], np.minimum(phase.lengths, count), phase.epochs)


def _train_phase(
    network: GeneratorNetwork,
    phase: Phase,
    settings: GeneratorSettings,
    generator: np.random.Generator,
    number: int,
    told: Callable[[int, int, float, float], None] | None,
) -> None:
    optimizer = torch.optim.AdamW(
        network.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay, fused=True
    )
    batches = -(-int(np.count_nonzero(phase.lengths >= 2)) // settings.batch)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, settings.learning_rate, total_steps=batches * phase.epochs + 1
    )
    network.train()
    for epoch in range(1, phase.epochs + 1):
        clock, total, count = time.perf_counter(), 0.0, 0
        for rows, own in history_batches(phase, settings.batch, settings.steps, generator):
            loss, targets = _loss(network, rows, own, settings.label_smoothing)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(network.parameters(), _LARGEST_GRADIENT)
            optimizer.step()
            schedule.step()
            total, count = total + float(loss.detach()) * targets, count + targets
        if told is not None:
            told(number, epoch, total / max(count, 1), time.perf_counter() - clock)


def _loss(
    network: GeneratorNetwork, rows: NDArray[np.int64], lengths: NDArray[np.int64], smoothing: float
) -> tuple[Any, int]:
    device = network.meaning.device
    codes = torch.from_numpy(rows).to(device)
    known = torch.from_numpy(np.arange(rows.shape[1] - 1)[None, :] < (lengths - 1)[:, None]).to(device)
    states = network.states(codes, torch.from_numpy(lengths).to(device))[known]
    targets = codes[:, 1:][known]
    return network.loss(states, targets, smoothing), len(targets)


def _as_arrays(
    network: GeneratorNetwork, ids: NDArray[np.int64], settings: GeneratorSettings
) -> GeneratorModel:
    def array(tensor: Any) -> NDArray[np.float32]:
        return np.array(tensor.detach().cpu().numpy(), dtype=np.float32)

    network.eval()
    with torch.no_grad():
        levels = range(len(network.bias))
        nodes = [
            torch.arange(len(network.bias[level].weight), device=network.meaning.device) for level in levels
        ]
        return GeneratorModel(
            settings=settings,
            ids=ids,
            items=array(network.items(torch.arange(len(ids), device=network.meaning.device))),
            explicit=array(network.read_explicit(network.explicit)),
            implicit=array(network.read_implicit(network.implicit)),
            own=array(network.read_implicit(network.meaning)),
            clients=array(network.clients),
            nodes=tuple(array(network.nodes_of(level, nodes[level])) for level in levels),
            bias=tuple(array(network.bias[level].weight[:, 0]) for level in levels),
            reader={name: array(weights) for name, weights in network.reader.state_dict().items()},
        )
