"""Lists under business rules on a graph small enough to work out by hand: who is kept out, by which rule, and why."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import sparse

from isrf_pipeline.config.settings import (
    InteractionGraphSettings,
    OptimizeSettings,
    RankerSettings,
    RulesSettings,
)
from isrf_pipeline.interests.blocks import scored_blocks
from isrf_pipeline.interests.model import InterestModel
from isrf_pipeline.interests.propagation import FusionWeights
from isrf_pipeline.interests.ranking import ranked_block
from isrf_pipeline.interests.reranking import Reranking
from isrf_pipeline.ranker.facts import ItemFacts, PastSales
from isrf_pipeline.ranker.features import FEATURES
from isrf_pipeline.ranker.model import Ranker
from isrf_pipeline.rules.items import Cap, ItemRules
from isrf_pipeline.rules.ranking import ListRules, ruled_block

GRAPH = InteractionGraphSettings(window=3)
OPTIMIZE = OptimizeSettings()
FOLLOWED = FusionWeights(semantic=0.0, implicit=0.0, feedback=0.0)
TODAY = 20_000
NOTHING = np.zeros(0, np.int64)
IDS = np.array(["a", "b", "c", "d", "e", "f"])


def model(available: str = "abcdef") -> InterestModel:
    """Six items: a leads to b (1), c (.8), d (.6), e (.4), nothing to f, which nobody has and which is close to c."""
    followed = np.zeros((6, 6), np.float32)
    followed[0, 1:5] = [1.0, 0.8, 0.6, 0.4]
    vectors = np.eye(6, dtype=np.float32)
    vectors[5] = [0.6, 0, 0.8, 0, 0, 0]
    return InterestModel(
        IDS,
        sparse.csr_matrix(followed),
        sparse.csr_matrix((6, 6), dtype=np.float32),
        vectors,
        np.array([3, 2, 1, 1, 1, 0], np.float32),
        np.isin(IDS, list(available)),
        ItemFacts(
            np.arange(6, dtype=np.int32),
            np.arange(6, dtype=np.int32),
            np.arange(6, dtype=np.int32),
            np.zeros(6, np.float32),
            PastSales.of(NOTHING, NOTHING, NOTHING, 6),
        ),
    )


def item_rules(
    excluded: str = "", launched: dict[str, int] | None = None, caps: tuple[Cap, ...] = ()
) -> ItemRules:
    days = launched or {}
    return ItemRules(
        np.isin(IDS, list(excluded)),
        np.array([100.0, 100, 200, 300, 400, np.nan]),
        np.array([days.get(str(item), np.nan) for item in IDS], np.float64),
        np.array([False] * 5 + [True]),
        caps,
    )


def clients(
    histories: list[list[int]],
    bought: list[list[int]] | None = None,
    barred: list[list[int]] | None = None,
    again: list[list[int]] | None = None,
    bands: list[tuple[float | None, float | None]] | None = None,
) -> pa.RecordBatch:
    codes = pa.list_(pa.int32())
    nothing: list[list[int]] = [[] for _ in histories]
    low, high = zip(*(bands or [(None, None)] * len(histories)), strict=True)
    return pa.RecordBatch.from_pydict(
        {
            "user_id": [f"u{place}" for place in range(len(histories))],
            "codes": pa.array(histories, codes),
            "weights": pa.array([[1.0] * len(own) for own in histories], pa.list_(pa.float32())),
            "group_codes": pa.array(nothing, codes),
            "group_values": pa.array(nothing, pa.list_(pa.float32())),
            "excluded": pa.array(histories if bought is None else bought, codes),
            "barred": pa.array(barred or nothing, codes),
            "again": pa.array(again or nothing, codes),
            "price_low": pa.array(low, pa.float64()),
            "price_high": pa.array(high, pa.float64()),
            "today": pa.array([TODAY] * len(histories), pa.int32()),
        }
    )


Rows = list[dict[str, Any]]


def listed(
    rows: pa.RecordBatch,
    rules: dict[str, Any],
    of_items: ItemRules | None = None,
    items: InterestModel | None = None,
    top_n: int = 3,
    reranking: Reranking | None = None,
    only_available: bool = True,
) -> tuple[Rows, dict[str, str]]:
    """The rows of the first client's list, and by item the rule that kept it out."""
    items = items or model()
    (block,) = scored_blocks(iter([rows]), items, FOLLOWED, GRAPH, OPTIMIZE)
    declared = ListRules(
        of_items or item_rules(), RulesSettings.model_validate(rules), only_available, candidates=6
    )
    table = ruled_block(block, items, declared, GRAPH, top_n, reranking).to_pylist()
    own = [row for row in table if row["user_id"] == "u0"]
    return (
        [row for row in own if row["rank"] is not None],
        {row["item_id"]: row["withheld_by"] for row in own if row["rank"] is None},
    )


def items_of(rows: Rows) -> str:
    assert [row["rank"] for row in rows] == list(range(1, len(rows) + 1))
    return "".join(row["item_id"] for row in rows)


def test_each_hard_rule_is_named_the_first_of_several() -> None:
    # By score b c d e a f: b is not available and excluded, c is excluded, d barred, a bought.
    found, out = listed(
        clients([[0]], barred=[[2, 3]]),
        {"exclude": {"items": ["x"]}},
        item_rules(excluded="bc"),
        model("acdef"),
    )
    assert items_of(found) == "ef"
    assert out == {"b": "availability", "c": "exclusions", "d": "client_exclusions"}
    assert [row["plain_rank"] for row in found] == [None, None]
    everything, out = listed(clients([[0]]), {}, top_n=6)
    assert items_of(everything) == "bcdef"
    assert out == {"a": "already_bought"}


def test_what_was_bought_long_ago_says_that_it_is_offered_again() -> None:
    found, out = listed(clients([[0, 1]], bought=[[0]], again=[[1]]), {})
    assert items_of(found) == "bcd"
    assert [row["rules"] for row in found] == [["replenishable"], None, None]
    assert out == {}


@pytest.mark.parametrize(
    ("outside", "expected", "out"),
    [
        ("remove", "bcf", {"d": "price_band"}),
        ("demote", "bcf", {"d": "price_band"}),
        ("keep", "bcd", {}),
    ],
)
def test_price_band(outside: str, expected: str, out: dict[str, str]) -> None:
    # d and e cost 300 and 400; what f costs is not known.
    rows = clients([[0]], bands=[(50.0, 250.0)])
    found, kept_out = listed(rows, {"price_band": {"outside": outside}})
    assert (items_of(found), kept_out) == (expected, out)


def test_demoted_items_fill_what_nothing_else_does() -> None:
    rows = clients([[0]], bands=[(50.0, 250.0)])
    found, _ = listed(rows, {"price_band": {"outside": "demote"}}, top_n=5)
    assert items_of(found) == "bcfde"
    assert [row["rules"] for row in found] == [None, None, None, ["price_band"], ["price_band"]]
    removed, _ = listed(rows, {"price_band": {"outside": "remove"}}, top_n=5)
    assert items_of(removed) == "bcf"


def test_caps_are_asked_in_their_order() -> None:
    house = Cap("house_cap", 1, np.array([0, 0, 0, 1, 1, -1], np.int32))
    category = Cap("category_cap_1", 2, np.array([0, 0, 0, 0, 0, 0], np.int32))
    settings = {"cap": {"house": 1, "category": {1: 2}}}
    found, out = listed(clients([[0]]), settings, item_rules(caps=(house, category)))
    # b takes the place of its house, d that of its own; then the category is full.
    assert items_of(found) == "bd"
    assert out == {"c": "house_cap"}
    found, out = listed(clients([[0]]), settings, item_rules(caps=(category,)))
    assert (items_of(found), out) == ("bc", {"d": "category_cap_1"})


def test_the_quota_brings_in_what_nobody_has_and_its_grounds_stay_true() -> None:
    settings = {"new_arrivals": {"at_least": 1}}
    found, out = listed(clients([[0]]), settings)
    assert items_of(found) == "bcf"
    assert [row["rules"] for row in found] == [None, None, ["new_arrivals"]]
    assert [row["new_arrival"] for row in found] == [False, False, True]
    # Nothing leads from a to f: the place rests on no item of the history, and says so.
    assert [row["because_items"] for row in found] == [["a"], ["a"], []]
    assert found[2]["score"] == 0
    assert out == {"d": "new_arrivals"}


@pytest.mark.parametrize(
    ("launched", "unseen", "expected"),
    [
        ({"e": TODAY - 29}, "never", "bce"),
        ({"e": TODAY - 30}, "never", "bcd"),
        ({"e": TODAY + 1}, "never", "bcd"),
        ({"e": TODAY}, "undated", "bce"),
        ({"f": TODAY - 400}, "undated", "bcd"),
        ({"f": TODAY - 400}, "always", "bcf"),
    ],
)
def test_what_is_new(launched: dict[str, int], unseen: str, expected: str) -> None:
    settings = {"new_arrivals": {"at_least": 1, "days": 30, "unseen": unseen}}
    found, _ = listed(clients([[0]]), settings, item_rules(launched=launched))
    assert items_of(found) == expected


def test_of_equally_strong_new_arrivals_the_closest_in_meaning_comes_first() -> None:
    # The client has c. Neither e nor f follows from it; f means much the same, e has clients, so it is stronger.
    settings = {"new_arrivals": {"at_least": 1, "unseen": "always"}}
    rules = item_rules(launched={"e": TODAY, "d": TODAY})
    equal = dataclasses.replace(model(), popularity=np.zeros(6, np.float32))
    found, _ = listed(clients([[2]]), settings, rules, equal, top_n=1)
    assert items_of(found) == "f"
    found, _ = listed(clients([[2]]), settings, rules, top_n=1)
    assert items_of(found) == "d"


def test_diversity_and_quota_share_what_gave_way() -> None:
    alike = dataclasses.replace(
        model(), embeddings=np.array([[1, 0], [1, 0], [1, 0], [1, 0], [0, 1], [0, 1]], np.float32)
    )
    found, out = listed(clients([[0]]), {"diversity": {"weight": 0.6}}, items=alike)
    # Relevance from f to b: b 1, c .8, d .6, e .4, f 0. After b: c .32 - .6, d .24 - .6, e .16, f 0; then f is like e.
    assert items_of(found) == "bec"
    assert [row["rules"] for row in found] == [None, ["diversity"], None]
    assert out == {"d": "diversity"}
    both = {"diversity": {"weight": 0.6}, "new_arrivals": {"at_least": 1, "of_first": 2}}
    found, out = listed(clients([[0]]), both, items=alike)
    assert items_of(found)[:2] == "bf"
    assert out["d"] == "new_arrivals"


def test_shares_and_grounds_are_those_of_the_model() -> None:
    rows = clients([[0], [], [2]])
    (block,) = scored_blocks(iter([rows]), model(), FOLLOWED, GRAPH, OPTIMIZE, only_available=True)
    plain = ranked_block(block, model(), FOLLOWED, GRAPH, 4).to_pylist()
    declared = ListRules(item_rules(), RulesSettings(), True, candidates=6)
    ruled = ruled_block(block, model(), declared, GRAPH, 4).to_pylist()
    assert [{name: row[name] for name in plain[0]} for row in ruled if row["rank"] is not None] == plain
    assert all(row["rules"] is None and row["new_arrival"] is None for row in ruled)


class ByCode(Ranker):
    """Prefers items that are popular little, whatever the rest, and keeps the features that it is asked about."""

    def scores(self, features: NDArray[np.float32]) -> NDArray[np.float64]:
        return -features[:, FEATURES.index("popularity")].astype(np.float64)


def test_under_a_ranker_forbidden_items_and_quota_move_nobody() -> None:
    reranking = Reranking(
        ByCode(""), RankerSettings(by_fusion=3, by_scorer=0), ("followed", "semantic", "group")
    )
    # The fusion names b c d; the ranker puts what is popular last.
    found, out = listed(clients([[0]]), {}, reranking=reranking)
    assert (items_of(found), out) == ("cdb", {})
    found, out = listed(clients([[0]]), {}, items=model("abdef"), reranking=reranking)
    assert (items_of(found), out) == ("deb", {"c": "availability"})
    # f would stand first by the ranker's score; it is judged only because of the quota, and stands where it belongs.
    found, out = listed(clients([[0]]), {"new_arrivals": {"at_least": 1}}, reranking=reranking)
    assert (items_of(found), out) == ("fcd", {"b": "new_arrivals"})
    assert [row["rules"] for row in found] == [["new_arrivals"], None, None]
    # Clients without a history keep what is popular.
    found, _ = listed(clients([[]]), {}, reranking=reranking)
    assert items_of(found) == "abc"


@given(
    st.lists(st.lists(st.integers(0, 5), unique=True, max_size=4), min_size=1, max_size=4),
    st.sets(st.sampled_from("abcdef"), max_size=3),
    st.sampled_from(["keep", "demote", "remove"]),
    st.integers(1, 6),
    st.sampled_from([0.0, 0.5]),
    st.data(),
)
def test_what_holds_of_every_list(
    histories: list[list[int]],
    excluded: set[str],
    outside: str,
    top_n: int,
    weight: float,
    data: st.DataObject,
) -> None:
    barred = data.draw(st.lists(st.lists(st.integers(0, 5), unique=True, max_size=2), min_size=4, max_size=4))
    cap = Cap("house_cap", 2, np.array([0, 0, 0, 1, 1, -1], np.int32))
    settings = {
        "price_band": {"outside": outside},
        "cap": {"house": 2},
        "new_arrivals": {"at_least": data.draw(st.integers(0, min(top_n, 1)))},
        "diversity": {"weight": weight},
    }
    bands = [(50.0, 250.0)] * len(histories)
    rows = clients(histories, barred=barred[: len(histories)], bands=bands)
    items = model()
    (block,) = scored_blocks(iter([rows]), items, FOLLOWED, GRAPH, OPTIMIZE)
    declared = ListRules(
        item_rules("".join(excluded), caps=(cap,)), RulesSettings.model_validate(settings), True, candidates=6
    )
    table = ruled_block(block, items, declared, GRAPH, top_n).to_pylist()
    for place, history in enumerate(histories):
        own = [row for row in table if row["user_id"] == f"u{place}"]
        found = [row for row in own if row["rank"] is not None]
        names = items_of(found)
        barred_names = {str(IDS[code]) for code in barred[place]}
        assert not {*names} & ({*excluded} | barred_names | {str(IDS[code]) for code in history})
        assert len({*names}) == len(names)
        assert max(sum(name in "abc" for name in names), sum(name in "de" for name in names)) <= 2
        assert outside != "remove" or not {*names} & {"d", "e"}
        for row in own:
            assert (row["rank"] is None) == (row["withheld_by"] is not None)
            assert row["rank"] is not None or row["plain_rank"] is not None
        # Every place of the model's own list is accounted for.
        ranks = sorted(row["plain_rank"] for row in own if row["plain_rank"] is not None)
        assert ranks == list(range(1, top_n + 1))
        quota = settings["new_arrivals"]["at_least"]
        if "f" not in excluded | barred_names and 5 not in history:
            assert sum(bool(row["new_arrival"]) for row in found) >= quota
        alone = rows.slice(place, 1)
        (block_alone,) = scored_blocks(iter([alone]), items, FOLLOWED, GRAPH, OPTIMIZE)
        assert ruled_block(block_alone, items, declared, GRAPH, top_n).to_pylist() == own


@given(st.permutations(range(6)), st.sampled_from(["keep", "demote", "remove"]), st.sampled_from([0.0, 0.4]))
def test_the_order_of_the_candidates_decides_nothing(order: list[int], outside: str, weight: float) -> None:
    """Scores differ here, so a list must hold the same items whichever codes they have."""
    settings = {
        "price_band": {"outside": outside},
        "cap": {"house": 2},
        "new_arrivals": {"at_least": 1},
        "diversity": {"weight": weight},
    }
    houses = np.array([0, 0, 0, 1, 1, -1], np.int32)
    plain, said = model(), item_rules()
    place_of = np.argsort(order)
    moved = dataclasses.replace(
        plain,
        followed=plain.followed[order][:, order],
        embeddings=plain.embeddings[order],
        popularity=plain.popularity[order],
    )
    moved_rules = ItemRules(
        said.excluded[order],
        said.price[order],
        said.launched[order],
        said.unseen[order],
        (Cap("house_cap", 2, houses[order]),),
    )
    band = [(50.0, 250.0)]
    expected, out = listed(
        clients([[0]], bands=band),
        settings,
        dataclasses.replace(said, caps=(Cap("house_cap", 2, houses),)),
        top_n=4,
    )
    found, moved_out = listed(
        clients([[int(place_of[0])]], bands=band), settings, moved_rules, moved, top_n=4
    )
    named = {str(name): str(IDS[order[code]]) for code, name in enumerate(IDS)}
    assert [named[row["item_id"]] for row in found] == [row["item_id"] for row in expected]
    assert [row["rules"] for row in found] == [row["rules"] for row in expected]
    assert {named[item]: rule for item, rule in moved_out.items()} == out
