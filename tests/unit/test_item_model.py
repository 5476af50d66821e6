"""The sequential item-item model against its formula written out densely."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from isrf_pipeline.config.settings import InteractionGraphSettings
from isrf_pipeline.graphs import item_model
from isrf_pipeline.graphs.moments import SequenceMoments, moments_of

SETTINGS = InteractionGraphSettings(window=3, decay=0.5, edges_per_item=50, ridge=2.0, semantic_weight=1.5)


def moments(histories: list[list[int]], n_items: int) -> SequenceMoments:
    codes = np.array([code for history in histories for code in history], np.int32)
    lengths = np.array([len(history) for history in histories])
    return SequenceMoments(*moments_of(codes, lengths, n_items, SETTINGS.window, SETTINGS.decay))


def written_out(histories: list[list[int]], n_items: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """X'X, X'Y and F'F by explicit loops over prefixes."""
    x_rows, y_rows, f_rows = [], [], []
    for history in histories:
        own = np.zeros(n_items)
        own[history] = 1
        f_rows.append(own)
        for end in range(len(history) - 1):
            x, y = np.zeros(n_items), np.zeros(n_items)
            for step in range(SETTINGS.window):
                if end - step >= 0:
                    x[history[end - step]] += SETTINGS.decay**step
                if end + 1 + step < len(history):
                    y[history[end + 1 + step]] += SETTINGS.decay**step
            x_rows.append(x)
            y_rows.append(y)
    x, y, f = (np.array(rows).reshape(-1, n_items) for rows in (x_rows, y_rows, f_rows))
    return x.T @ x, x.T @ y, f.T @ f


def test_moments_of_one_short_history() -> None:
    result = moments([[0, 1, 2]], 3)
    # Prefix [0] sees 1 (weight 1) and 2 (.5) ahead; prefix [0, 1] sees 2 ahead, with 1 (1) and 0 (.5) behind.
    np.testing.assert_allclose(result.xy.toarray(), [[0, 1, 0.5 + 0.5], [0, 0, 1], [0, 0, 0]])
    np.testing.assert_allclose(result.xx.toarray(), [[1 + 0.25, 0.5, 0], [0.5, 1, 0], [0, 0, 0]])
    np.testing.assert_allclose(result.ff.toarray(), np.ones((3, 3)))


@given(
    st.lists(st.permutations(range(7)).flatmap(lambda p: st.integers(0, 7).map(lambda n: p[:n])), min_size=1)
)
def test_moments_equal_the_loops(histories: list[list[int]]) -> None:
    result = moments(histories, 7)
    for found, expected in zip((result.xx, result.xy, result.ff), written_out(histories, 7), strict=True):
        np.testing.assert_allclose(found.toarray(), expected, rtol=1e-5, atol=1e-6)


@given(st.randoms(use_true_random=False))
def test_order_of_clients_does_not_matter(random: object) -> None:
    histories = [[0, 1, 2], [3, 1], [2, 4, 0, 3], [4], [1, 0, 2], [3, 2, 1, 0]]
    shuffled = histories.copy()
    random.shuffle(shuffled)  # type: ignore[attr-defined]

    def summed(some: list[list[int]]) -> list[np.ndarray]:
        codes = np.array([code for history in some for code in history], np.int32)
        lengths = np.array([len(history) for history in some])
        return [matrix.toarray() for matrix in moments_of(codes, lengths, 5, window=3, decay=0.6)]

    # To the last bit, and however clients are spread over partitions.
    parts = zip(summed(shuffled[:2]), summed(shuffled[2:]), strict=True)
    for whole, part in zip(summed(histories), [one + other for one, other in parts], strict=True):
        np.testing.assert_array_equal(whole, part)


def test_closed_form_equals_the_formula() -> None:
    rng = np.random.default_rng(3)
    histories = [rng.permutation(12)[: rng.integers(2, 9)].tolist() for _ in range(40)]
    embeddings = rng.standard_normal((12, 5)).astype(np.float32)
    kernel = item_model.kernel_factor([(embeddings, 1.0)])
    found = item_model.solve_closed_form(moments(histories, 12), kernel, SETTINGS).toarray()

    xx, xy, ff = written_out(histories, 12)
    centred = embeddings - embeddings.mean(axis=0)
    centred /= np.linalg.norm(centred, axis=1, keepdims=True)
    shared = SETTINGS.cooccurrence_weight * ff + SETTINGS.semantic_weight * centred @ centred.T
    inverse = np.linalg.inv(xx + shared + SETTINGS.ridge * np.eye(12))
    expected = inverse @ (xy + shared)
    expected -= inverse * (np.diag(expected) / np.diag(inverse))
    np.fill_diagonal(expected, 0)
    np.testing.assert_allclose(found, np.maximum(expected, 0), atol=2e-5)


def test_kernel_averages_the_fields_by_hand() -> None:
    # Centred at (1, 1) the first two titles point opposite ways and the others nowhere. Of the attributes, which the
    # third item lacks, the first two point one way and the fourth the other.
    title = np.array([[2, 1], [0, 1], [1, 1], [1, 1]], np.float32)
    attributes = np.array([[2, 1], [2, 1], [0, 0], [-1, 1]], np.float32)
    nobody_has_it = np.zeros((4, 2), np.float32)
    kernel = item_model.kernel_factor([(title, 3.0), (attributes, 1.0), (nobody_has_it, 5.0)])
    # Squared weights 9 and 1: (-9 + 1) / 10 between the first two.
    expected = [[1, -0.8, 0, -0.1], [-0.8, 1, 0, -0.1], [0, 0, 0, 0], [-0.1, -0.1, 0, 0.1]]
    np.testing.assert_allclose(kernel @ kernel.T, expected, atol=1e-6)
    only_title = item_model.kernel_factor([(title, 3.0), (attributes, 0.0)])
    np.testing.assert_allclose((only_title @ only_title.T)[0], [1, -1, 0, 0], atol=1e-6)


def test_no_item_follows_itself_in_any_model() -> None:
    result = moments([[0, 1, 0], [1, 2, 1]], 3)
    embeddings = np.eye(3, dtype=np.float32)
    for matrix in (
        item_model.solve_closed_form(result, embeddings, SETTINGS),
        item_model.semantic_neighbours(embeddings, 2),
    ):
        assert np.all(matrix.diagonal() == 0)


def test_semantic_neighbours_are_the_nearest_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(item_model, "_BLOCK_ITEMS", 3)
    angles = np.deg2rad([0, 10, 30, 200])
    embeddings = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    found = item_model.semantic_neighbours(embeddings, 1).toarray()
    assert [int(row.argmax()) for row in found[:3]] == [1, 0, 1]
    assert found[0, 1] == pytest.approx(np.cos(np.deg2rad(10)) ** 4, rel=1e-5)
    # Nothing points the way of the fourth: opposite items are not similar.
    assert found[3].sum() == 0


@given(st.integers(1, 6), st.integers(0, 8))
def test_strongest_per_row_keeps_the_largest_positive(rows: int, count: int) -> None:
    dense = np.random.default_rng(rows).standard_normal((rows, 8)).astype(np.float32)
    kept = item_model.strongest_per_row(dense, count).toarray()
    for row, cut in zip(dense, kept, strict=True):
        best = np.sort(row[row > 0])[::-1][:count]
        np.testing.assert_allclose(np.sort(cut[cut > 0])[::-1], best)
