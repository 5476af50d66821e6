from __future__ import annotations

import numpy as np
import pytest

from isrf_pipeline.graphs.similarity import _QueryBlock


def _search(
    vectors: np.ndarray, k: int, blocks: list[tuple[int, int, int]]
) -> list[tuple[list[str], list[float]]]:
    ids = [f"c{row}" for row in range(len(vectors))]
    queries = _QueryBlock(0, ids, vectors.ravel(), k)
    for number, start, stop in blocks:
        queries.compare(number, ids[start:stop], vectors[start:stop].ravel())
    rows = queries.neighbours().to_pydict()
    assert rows["src"] == ids
    return list(zip(rows["dst"], rows["similarity"], strict=True))


@pytest.mark.parametrize("blocks", [[(0, 0, 700)], [(0, 0, 300), (1, 300, 310), (2, 310, 700)]])
def test_it_agrees_with_the_full_product(blocks: list[tuple[int, int, int]]) -> None:
    vectors = np.random.default_rng(5).standard_normal((700, 24)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    full = vectors @ vectors.T
    np.fill_diagonal(full, -2)
    for row, (dst, similarity) in enumerate(_search(vectors, 10, blocks)):
        best = np.argsort(-full[row])[:10]
        assert dst == [f"c{other}" for other in best]
        assert np.allclose(similarity, full[row, best], atol=2e-6)


def test_ties_go_to_the_earlier_place_in_whatever_order_blocks_come() -> None:
    vectors = np.zeros((40, 4), np.float32)
    vectors[:, 0] = 1
    expected = [f"c{row}" for row in range(1, 6)]
    for blocks in ([(0, 0, 20), (1, 20, 40)], [(1, 20, 40), (0, 0, 20)]):
        dst, similarity = _search(vectors, 5, blocks)[0]
        assert dst == expected
        assert similarity == [1.0] * 5


def test_a_small_base_gives_fewer_neighbours_and_opposites_count() -> None:
    vectors = np.array([[1, 0], [-1, 0], [0, 1]], np.float32)
    found = _search(vectors, 10, [(0, 0, 3)])
    assert found[0] == (["c2", "c1"], [0.0, -1.0])
    assert _search(vectors[:1], 10, [(0, 0, 1)]) == [([], [])]
