"""The generator: what is written exists and may be listed, in the order of its probability; training finds patterns."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from isrf_pipeline.config.generator_settings import GeneratorSettings
from isrf_pipeline.errors import EnvironmentMismatchError
from isrf_pipeline.generator.behaviour import client_profiles_of_items
from isrf_pipeline.generator.contents import ids_of_items, spread_meaning
from isrf_pipeline.generator.decoding import Decoder
from isrf_pipeline.generator.device import chosen_device
from isrf_pipeline.generator.model import GeneratorModel
from isrf_pipeline.generator.network import GeneratorNetwork, ItemContents
from isrf_pipeline.generator.semantic_ids import semantic_ids
from isrf_pipeline.generator.training import _as_arrays, newest_of, train_generator
from isrf_pipeline.generator.trie import trie_of
from isrf_pipeline.sequences.next_item import Phase

SMALL = GeneratorSettings(
    levels=2,
    codes=3,
    width=16,
    heads=2,
    steps=4,
    epochs=1,
    further_epochs=1,
    batch=32,
    dropout=0.0,
    learning_rate=2e-2,
    device="cpu",
)
N = 14


def untrained(seed: int = 0) -> tuple[GeneratorNetwork, GeneratorModel]:
    generator = np.random.default_rng(seed)
    meaning = generator.normal(size=(N, 5)).astype(np.float32)
    contents = ItemContents(
        meaning,
        generator.normal(size=(N, 5)).astype(np.float32),
        generator.normal(size=(N, 5)).astype(np.float32),
        generator.integers(1, 9, N).astype(np.float32),
    )
    ids = semantic_ids(meaning, 2, 3, 1.5, 0)
    torch.manual_seed(seed)
    network = GeneratorNetwork(contents, trie_of(ids), SMALL).eval()
    for table in [*network.read, *network.written, *network.bias]:
        torch.nn.init.normal_(table.weight)
    torch.nn.init.normal_(network.reader.positions)
    return network, _as_arrays(network, ids, SMALL)


NETWORK, MODEL = untrained()
HISTORIES = [[3, 1, 4, 7], [2, 8], [5]]


def padded(histories: list[list[int]]) -> tuple[np.ndarray, np.ndarray]:
    codes = np.zeros((len(histories), 4), np.int64)
    for row, history in enumerate(histories):
        codes[row, : len(history)] = history
    return codes, np.array([len(history) for history in histories])


def log_probabilities(state: np.ndarray) -> np.ndarray:
    """Of every item after a state, each by the loss of training alone."""
    with torch.no_grad():
        return np.array(
            [
                -float(NETWORK.loss(torch.from_numpy(state[None, :]), torch.tensor([item]), 0.0))
                for item in range(N)
            ]
        )


def test_probabilities_of_all_items_add_up_to_one() -> None:
    states = Decoder(MODEL, "cpu").states(*padded(HISTORIES), np.array([4, 2, 1]))
    for state in states:
        assert np.exp(log_probabilities(state)).sum() == pytest.approx(1, abs=1e-5)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.lists(st.booleans(), min_size=N, max_size=N), min_size=1, max_size=3), st.integers(0, 99))
def test_wide_beam_finds_the_exact_order_of_what_is_allowed(rows: list[list[bool]], seed: int) -> None:
    allowed = np.array(rows)
    states = np.random.default_rng(seed).normal(size=(len(rows), SMALL.width)).astype(np.float32)
    items, scores = Decoder(MODEL, "cpu").generate(states, allowed, N)
    for row, state in enumerate(states):
        exact = log_probabilities(state)
        expected = sorted(np.flatnonzero(allowed[row]), key=lambda item: -exact[item])
        found = items[row][items[row] >= 0]
        assert found.tolist() == expected
        np.testing.assert_allclose(scores[row, : len(found)], exact[found], atol=1e-4)
        assert np.isneginf(scores[row, len(found) :]).all()


@settings(max_examples=20, deadline=None)
@given(st.lists(st.booleans(), min_size=N, max_size=N), st.integers(1, 6))
def test_narrow_beam_writes_only_what_is_allowed_and_nothing_twice(row: list[bool], beam: int) -> None:
    states = np.random.default_rng(beam).normal(size=(1, SMALL.width)).astype(np.float32)
    items, _ = Decoder(MODEL, "cpu").generate(states, np.array([row]), beam)
    found = items[0][items[0] >= 0]
    assert np.array(row)[found].all()
    assert len(set(found.tolist())) == len(found) <= beam
    assert len(found) or not any(row)


def test_states_are_those_of_the_trained_network() -> None:
    codes, lengths = padded(HISTORIES)
    found = Decoder(MODEL, "cpu").states(codes, lengths, lengths)
    with torch.no_grad():
        for row, history in enumerate(HISTORIES):
            # One more item is only predicted; the network then counts as known what the decoder is told is learned.
            whole = torch.tensor([[*history, 0]])
            expected = NETWORK.states(whole, torch.tensor([len(history)]))[0, -1]
            np.testing.assert_allclose(found[row], expected.numpy(), atol=1e-4)


def test_what_comes_later_does_not_reach_the_states_before_it() -> None:
    meaning = np.random.default_rng(2).normal(size=(N, 5)).astype(np.float32)
    ids = semantic_ids(meaning, 2, 3, 1.5, 0)
    states = []
    for last in (4, 9):
        phase = newest_of(
            Phase(np.array([0, 3, 1, 8, 5, last, 3, 1, 8, 7, 2], np.int32), np.array([6, 5]), 1), 5
        )
        sums, clients = client_profiles_of_items(phase.codes, phase.lengths, meaning)
        torch.manual_seed(0)
        network = GeneratorNetwork(ItemContents(meaning, meaning, sums, clients), trie_of(ids), SMALL).eval()
        with torch.no_grad():
            row = torch.tensor([[3, 1, 8, 5, last]])
            states.append(network.states(row, torch.tensor([5]))[0].numpy())
    # Others hold the first three items: their profiles tell something, and nothing of what this client chose last.
    np.testing.assert_allclose(states[0], states[1], atol=1e-6)


def test_only_the_newest_items_of_a_history_count() -> None:
    phase = newest_of(Phase(np.array([1, 2, 3, 4, 5], np.int32), np.array([3, 0, 2]), 7), 2)
    assert phase.codes.tolist() == [2, 3, 4, 5]
    assert phase.lengths.tolist() == [2, 0, 2]
    assert phase.epochs == 7


def cycles(clients: int, items: int, length: int) -> Phase:
    """Every item is followed by the next one."""
    starts = np.random.default_rng(3).integers(0, items, clients)
    codes = (starts[:, None] + np.arange(length)[None, :]) % items
    return Phase(codes.ravel().astype(np.int32), np.full(clients, length), 8)


def trained(phases: list[Phase], items: int) -> list[GeneratorModel]:
    meaning = np.random.default_rng(1).normal(size=(items, 6)).astype(np.float32)
    meaning /= np.linalg.norm(meaning, axis=1, keepdims=True)
    ids = ids_of_items(phases[0], meaning, SMALL)
    return train_generator(phases, ids, meaning, meaning, SMALL)


def test_training_learns_what_follows_what() -> None:
    (model,) = trained([cycles(200, 10, 5)], 10)
    decoder = Decoder(model, "cpu")
    states = decoder.states(*padded([[2, 3, 4], [9]]), np.array([0, 0]))
    items, _ = decoder.generate(states, np.ones((2, 10), bool), 5)
    assert items[:, 0].tolist() == [5, 0]


def test_same_seed_gives_the_same_model_and_a_further_phase_another() -> None:
    phases = [cycles(50, 10, 4), cycles(50, 10, 5)]
    first, second = trained(phases, 10)
    again = trained(phases, 10)
    assert np.array_equal(first.items, again[0].items)
    assert np.array_equal(second.items, again[1].items)
    assert not np.array_equal(first.items, second.items)


def test_stored_model_writes_the_same() -> None:
    again = GeneratorModel.from_bytes(MODEL.to_bytes())
    states = np.random.default_rng(0).normal(size=(2, SMALL.width)).astype(np.float32)
    allowed = np.ones((2, N), bool)
    for one, other in zip(
        Decoder(MODEL, "cpu").generate(states, allowed, 5),
        Decoder(again, "cpu").generate(states, allowed, 5),
        strict=True,
    ):
        assert np.array_equal(one, other)
    assert again.settings == SMALL


def test_clients_without_history_have_no_state() -> None:
    codes, lengths = padded([[], [1]])
    states = Decoder(MODEL, "cpu").states(codes, lengths, lengths)
    assert not states[0].any()
    assert states[1].any()


def test_meaning_spreads_to_what_is_alike() -> None:
    from scipy import sparse

    edges = sparse.csr_matrix(np.array([[0, 3.0], [0, 0]]))
    assert spread_meaning(np.eye(2, dtype=np.float32), edges).tolist() == [[0.5, 0.5], [0, 0.5]]


@pytest.mark.skipif(torch.cuda.is_available(), reason="tells what happens without a GPU")
def test_a_gpu_that_is_not_there_is_named() -> None:
    assert chosen_device("auto").type == "cpu"
    with pytest.raises(EnvironmentMismatchError, match="finds no GPU"):
        chosen_device("cuda")
