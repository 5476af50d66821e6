"""Facts, candidates, features and trees of the learned ranker, against values worked out by hand."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from isrf_pipeline.config.settings import RankerSettings
from isrf_pipeline.ranker.facts import ItemFacts, PastSales, log_prices, names_to_codes
from isrf_pipeline.ranker.features import (
    FEATURES,
    IS_IMPLICIT,
    SCORERS,
    Candidates,
    History,
    candidate_features,
    choose_candidates,
)
from isrf_pipeline.ranker.model import explicit_shares, fit_ranker


def sales(entries: list[tuple[int, int, int]], n_items: int = 4) -> PastSales:
    columns = [np.array(column, np.int64) for column in zip(*entries, strict=True)]
    return PastSales.of(*columns, n_items)


def test_sales_before_a_day_by_hand() -> None:
    past = sales([(2, 30, 1), (0, 10, 2), (0, 20, 3)])
    codes = np.array([0, 0, 0, 0, 2, 2, 1])
    days = np.array([10, 11, 20, 21, 30, 31, 99])
    assert past.before(codes, days).tolist() == [0, 2, 2, 5, 0, 1, 0]


def test_age_is_unknown_before_the_first_sale() -> None:
    past = sales([(0, 10, 2), (0, 20, 3)])
    age = past.age(np.array([0, 0, 0, 1]), np.array([25, 10, 9, 25]))
    assert age[0] == 15
    assert np.isnan(age[1:]).all()


@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 40), st.integers(1, 5)), min_size=1, max_size=20),
    st.integers(0, 3),
    st.integers(0, 50),
)
def test_sales_equal_their_definition(entries: list[tuple[int, int, int]], code: int, day: int) -> None:
    found = sales(entries).before(np.array([code]), np.array([day]))
    assert found.tolist() == [sum(n for c, d, n in entries if c == code and d < day)]


def test_names_have_codes_by_their_alphabetical_order_whatever_the_input_order() -> None:
    assert names_to_codes(["b", None, "a", "b", ""]).tolist() == [1, -1, 0, 1, -1]


def test_unknown_and_negative_prices_are_unknown() -> None:
    assert np.isnan(log_prices([None, -1.0])).all()
    assert log_prices([0.0]) == pytest.approx(0)


def test_candidates_are_the_strongest_of_each_scorer_that_are_allowed() -> None:
    fused = np.array([[0.9, 0.5, 0.1, 0.0, 0.2]], np.float32)
    scorers = {"group": np.array([[0, 0, 0, 0.7, 0]], np.float32)}
    allowed = np.array([[False, True, True, True, True]])
    found = choose_candidates(fused, scorers, allowed, by_fusion=2, by_scorer=3)
    assert found.codes.tolist() == [1, 3, 4]
    assert found.rows.tolist() == [0, 0, 0]


def facts() -> ItemFacts:
    return ItemFacts(
        house=np.array([0, 0, 1, -1], np.int32),
        category=np.array([0, 1, 1, 1], np.int32),
        department=np.array([0, 0, 0, 0], np.int32),
        price=np.log1p(np.array([10.0, 20.0, np.nan, 20.0])).astype(np.float32),
        sales=sales([(2, 90, 4), (2, 10, 1)]),
    )


def features_of(
    scorers: dict[str, np.ndarray], candidates: Candidates | None = None
) -> dict[str, list[float]]:
    # One client chose item 1, and before it item 0; candidates are 2 and 3 on day 100.
    values = candidate_features(
        candidates or Candidates(np.array([0, 0]), np.array([2, 3])),
        scorers,
        np.array([[0, 0, 0.4, 0.2]], np.float32),
        History(np.array([[1, 0]]), np.array([2]), np.array([100])),
        np.array([1, 1, 5, 0], np.float32),
        np.array([[1, 0], [0, 1], [0, 1], [0.6, 0.8]], np.float32),
        facts(),
    )
    return {name: values[:, k].tolist() for k, name in enumerate(FEATURES)}


def test_features_by_hand() -> None:
    found = features_of({"group": np.array([[0.5, 0, 0.25, 0.25]], np.float32)})
    assert found["group_share"] == [0.5, 0.5]
    assert found["group_place"] == [0, 0]
    assert found["explicit_place"] == pytest.approx([0, np.log(2)])
    assert np.isnan(found["sequence"]).all()
    assert found["similarity_max"] == pytest.approx([1, 0.8])
    assert found["similarity_mean"] == pytest.approx([0.5, 0.7])
    assert found["similarity_last"] == pytest.approx([1, 0.8])
    assert found["house_share"] == [0, 0]
    assert found["category_last"] == [1, 1]
    assert found["category_share"] == [0.5, 0.5]
    assert np.isnan(found["price"][0])
    assert found["price_difference"][1] == pytest.approx(np.log(21) - (np.log(21) + np.log(11)) / 2, abs=1e-6)
    assert found["sales_30"] == pytest.approx([np.log(5), 0])
    assert found["sales"] == pytest.approx([np.log(6), 0])
    assert found["age"][0] == 90
    assert np.isnan(found["age"][1])


def test_what_is_judged_beside_moves_nobody() -> None:
    scorers = {"group": np.array([[0.9, 0.5, 0.25, 0.25]], np.float32)}
    alone = Candidates(np.array([0, 0]), np.array([1, 3]))
    both = alone.with_further(np.array([[True, False, True, False]]))
    assert both.codes.tolist() == [0, 1, 2, 3]
    assert both.counted is not None
    assert both.counted.tolist() == [False, True, False, True]
    few, many = (features_of(scorers, candidates) for candidates in (alone, both))
    for name in FEATURES:
        assert [many[name][1], many[name][3]] == pytest.approx(few[name], nan_ok=True), name
    # 0 stands before all that count, 2 shares the place of 3.
    assert many["group_place"] == pytest.approx([0, 0, np.log(2), np.log(2)])
    assert many["explicit_place"] == pytest.approx([np.log(2), np.log(2), 0, 0])


def test_only_what_tells_of_others_is_implicit() -> None:
    implicit = {name for name, is_implicit in zip(FEATURES, IS_IMPLICIT, strict=True) if is_implicit}
    assert {"group", "popularity", "sales_30"} <= implicit
    assert not implicit & {"followed", "sequence", "semantic", "house_share", "price", "history"}
    assert len(FEATURES) == len(set(FEATURES))


def learned() -> tuple[np.ndarray, np.ndarray]:
    """Candidates of 300 clients; the one with the largest group score is chosen."""
    rng = np.random.default_rng(5)
    features = rng.normal(size=(300 * 10, len(FEATURES))).astype(np.float32)
    group = features[:, FEATURES.index("group")].reshape(300, 10)
    labels = (group == group.max(axis=1, keepdims=True)).ravel()
    return features, labels


SETTINGS = RankerSettings(trees=20, min_leaf=5)


def test_ranker_learns_what_is_chosen_and_is_the_same_each_time() -> None:
    features, labels = learned()
    sizes = np.full(300, 10)
    ranker = fit_ranker(features, labels, sizes, SETTINGS)
    best = ranker.scores(features).reshape(300, 10).argmax(axis=1)
    assert np.mean(best == labels.reshape(300, 10).argmax(axis=1)) > 0.8
    assert fit_ranker(features, labels, sizes, SETTINGS).text == ranker.text


def test_contributions_add_up_to_the_score_and_credit_what_decides() -> None:
    features, labels = learned()
    ranker = fit_ranker(features, labels, np.full(300, 10), SETTINGS)
    scores = ranker.scores(features)
    contributions = ranker.contributions(features, scores)
    np.testing.assert_allclose(contributions.sum(axis=1), scores, atol=1e-6)
    assert explicit_shares(contributions[labels]).mean() < 0.2


def test_ranker_travels_to_workers() -> None:
    features, labels = learned()
    ranker = fit_ranker(features, labels, np.full(300, 10), SETTINGS)
    before = ranker.scores(features)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(ranker)).scores(features), before)


@given(st.lists(st.floats(-5, 5), min_size=2, max_size=2))
def test_shares_lie_between_0_and_1(parts: list[float]) -> None:
    share = explicit_shares(np.array([[*parts, 0.1]]))[0]
    assert 0 <= share <= 1
    if parts[0] <= 0 < parts[1]:
        assert share == 0


def test_scorers_have_three_features_each() -> None:
    for scorer in SCORERS:
        assert {scorer, f"{scorer}_share", f"{scorer}_place"} <= set(FEATURES)
