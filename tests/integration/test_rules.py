"""Business rules on a lake of two tastes: lists, what the rules did to them, and what is refused."""

from __future__ import annotations

import dataclasses
import datetime
import logging
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from isrf_pipeline.config import Settings
from isrf_pipeline.config.settings import InteractionGraphSettings, RulesSettings
from isrf_pipeline.errors import InputRefusedError
from isrf_pipeline.graphs.interaction import item_edges
from isrf_pipeline.graphs.item_model import kernel_factor, semantic_neighbours, solve_closed_form
from isrf_pipeline.graphs.moments import SequenceMoments, moments_of
from isrf_pipeline.interests.lists import ranked_lists
from isrf_pipeline.lake import Lake, tables
from isrf_pipeline.rules.clients import already_bought, client_rules, price_bands
from isrf_pipeline.rules.effects import rule_effects
from isrf_pipeline.rules.exclusion_file import read_client_exclusions
from isrf_pipeline.rules.matching import unknown_values
from isrf_pipeline.stages import evaluate, recommend
from isrf_pipeline.stages.context import StageContext

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, Row, SparkSession

pytestmark = pytest.mark.spark

NIGHT = datetime.date(2026, 6, 30)
LONG_AGO = datetime.date(2020, 1, 1)
#: Silk costs 100 to 160, leather 1,000 to 1,600; the eighth of either is sold out.
TASTES = {"silk": (100.0, ["Wear", "Scarves"], [1.0, 0.0]), "hide": (1000.0, ["Leather", "Bags"], [0.0, 1.0])}
RULES = {
    "exclude": {"items": ["silk4"], "houses": ["Nobody"], "categories": ["Leather > Belts"]},
    "replenishable": {"categories": ["Soap"], "after_days": 60},
    "price_band": {"outside": "demote", "min_events": 3, "margin": 2.0},
    "cap": {"house": 4, "category": {2: 3}},
    "new_arrivals": {"at_least": 1, "of_first": 2, "days": 30},
    "diversity": {"weight": 0.1},
}


def catalogue() -> list[tuple[Any, ...]]:
    """Rows of silver.items: two tastes of eight articles, a soap, a belt, and one article that came five days ago."""

    def item(
        name: str, house: str, categories: list[str], price: float, launched: datetime.date = LONG_AGO
    ) -> tuple[Any, ...]:
        return (
            name,
            f"Title of {name}",
            house,
            categories,
            None,
            price,
            {},
            name[4:] != "7",
            launched,
            "0" * 64,
        )

    rows = [
        item(f"{taste}{place}", f"House {taste} {place % 2}", categories, price * (1 + 0.1 * place))
        for taste, (price, categories, _) in TASTES.items()
        for place in range(8)
    ]
    rows.append(item("soap", "House soap", ["Care", "Soap"], 110.0))
    rows.append(item("belt", "House belt", ["Leather", "Belts"], 1000.0))
    rows.append(
        item("silk_new", "House silk 2", ["Wear", "Shawls"], 120.0, NIGHT - datetime.timedelta(days=5))
    )
    return rows


def vector(item: str, place: int) -> list[float]:
    """Close to the taste of the item, and not the same for any two of them."""
    taste = TASTES["hide" if item == "belt" else item[:4] if item[:4] in TASTES else "silk"][2]
    own = [*taste, 0.05 * place, 0.3 if item == "soap" else 0.0]
    length = sum(value * value for value in own) ** 0.5
    return [value / length for value in own]


def events() -> list[tuple[Any, ...]]:
    """Twelve clients of either taste, five purchases each from the first six articles of their taste."""
    rows = []
    for client in range(24):
        taste = ("silk", "hide")[client % 2]
        for step in range(5):
            when = datetime.datetime(2026, 5, 1 + step, 12)
            rows.append((f"u{client:02}", f"{taste}{(client // 2 + step) % 6}", "purchase", when, 1.0, "r"))
    rows += [
        ("u00", "soap", "purchase", datetime.datetime(2026, 4, 1), 1.0, "r"),
        ("u02", "soap", "purchase", datetime.datetime(2026, 6, 20), 1.0, "r"),
        ("u01", "belt", "purchase", datetime.datetime(2026, 4, 1), 1.0, "r"),
    ]
    return rows


def edges(spark: SparkSession) -> DataFrame:
    """Item-item edges as build_interaction_graph makes them, from all but the last two events of each client."""
    settings = InteractionGraphSettings()
    vectors = {row[0]: vector(row[0], place) for place, row in enumerate(catalogue())}
    ids = sorted(vectors)
    meaning = np.array([vectors[item] for item in ids], np.float32)
    histories: dict[str, list[int]] = {}
    for user, item, *_ in sorted(events(), key=lambda event: event[3]):
        histories.setdefault(user, []).append(ids.index(item))
    training = [history[:-2] for history in histories.values()]
    codes = np.array([code for history in training for code in history], np.int32)
    lengths = np.array([len(history) for history in training])
    moments = SequenceMoments(*moments_of(codes, lengths, len(ids), settings.window, settings.decay))
    followed = solve_closed_form(moments, kernel_factor([(meaning, 1.0)]), settings)
    names = np.array(ids)
    return item_edges(spark, followed, names, "followed_by").unionByName(
        item_edges(spark, semantic_neighbours(meaning, 5), names, "similar_meaning")
    )


@dataclasses.dataclass(frozen=True)
class Night:
    """A lake whose model is fitted."""

    spark: SparkSession
    root: Path

    def context(self, rules: dict[str, Any], **settings: dict[str, Any]) -> StageContext:
        told = {
            "lake": {"root": str(self.root)},
            "recommend": {"top_n": 6, "candidates": 20},
            "rules": rules,
            **settings,
        }
        declared = Settings.model_validate(told)
        return StageContext(self.spark, declared, Lake(self.spark, declared.lake), NIGHT, "run")


@pytest.fixture(scope="module")
def night(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Night:
    night = Night(spark, tmp_path_factory.mktemp("rules") / "lake")
    ctx = night.context({})
    items = catalogue()
    features = [
        (row[0], None, None, None, [], "attributes", None, *[vector(row[0], place)] * 5)
        for place, row in enumerate(items)
    ]
    clients = [(f"u{client:02}", {}, True) for client in range(24)] + [("newcomer", {}, True)]
    model = (NIGHT, 0, 0.0, 0.1, 0.0, 0.0, 1.0, 0.0, 0.6, "fusion", 0.5)
    written = (
        (tables.ITEMS, items),
        (tables.ITEM_FEATURES, features),
        (tables.INTERACTIONS, events()),
        (tables.CLIENTS, clients),
        (tables.INTEREST_MODEL, [model]),
        (tables.USER_FEATURES, []),
        (tables.PROFILES, []),
        (tables.PROFILE_WEIGHTS, []),
        (tables.INTEREST_PARAMETERS, []),
        (tables.SEGMENT_MEMBERS, []),
    )
    frames = [(table, spark.createDataFrame(rows, table.ddl())) for table, rows in written]
    ctx.write_together(*frames, (tables.EDGES, edges(spark)))
    return night


@pytest.fixture(scope="module")
def exclusions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("exclusions") / "refused.csv"
    file.write_text("client,article\nu00,silk5\n u03 ,hide5\nnobody,silk1\n", encoding="utf-8")
    return file


@dataclasses.dataclass(frozen=True)
class Ruled:
    """A night's lists under all rules, by client and in the order of their ranks, and its figures."""

    context: StageContext
    lists: dict[str, list[Row]]
    metrics: dict[tuple[str, str], float]

    def below(self, prefix: str) -> dict[tuple[str, str], float]:
        return {
            (metric.removeprefix(prefix), slice_): value
            for (metric, slice_), value in self.metrics.items()
            if metric.startswith(prefix)
        }


@pytest.fixture(scope="module")
def ruled(night: Night, exclusions: Path) -> Ruled:
    told = {"path": str(exclusions), "format": "csv", "columns": {"user_id": "client", "item_id": "article"}}
    ctx = night.context(RULES | {"exclude": RULES["exclude"] | {"clients": told}})
    recommend.STAGE.run(ctx)
    evaluate.STAGE.run(ctx)
    lists: dict[str, list[Row]] = {}
    for row in ctx.lake.read(tables.RECOMMENDATIONS).orderBy("user_id", "rank").collect():
        lists.setdefault(row["user_id"], []).append(row)
    measured = ctx.lake.read(tables.METRICS).collect()
    return Ruled(ctx, lists, {(row["metric"], row["slice"]): row["value"] for row in measured})


def test_lists_keep_every_rule(ruled: Ruled) -> None:
    items = {row[0]: row for row in catalogue()}
    bought = {(user, item) for user, item, *_ in events()}
    assert len(ruled.lists) == 25
    for user, rows in ruled.lists.items():
        names = [row["item_id"] for row in rows]
        assert [row["rank"] for row in rows] == list(range(1, len(rows) + 1))
        assert not {"silk4", "silk7", "hide7", "belt"} & set(names)
        again = [name for name in names if (user, name) in bought]
        assert again == (["soap"] if user == "u00" and "soap" in names else [])
        for kind in ([items[name][2] for name in names], [tuple(items[name][3]) for name in names]):
            assert max(kind.count(value) for value in kind) <= (4 if isinstance(kind[0], str) else 3)
        assert "silk_new" in names[:2]
        history = {item for client, item in bought if client == user}
        assert all(set(row["because_items"]) <= history for row in rows)
        assert all(abs(row["explicit_share"] + row["implicit_share"] - 1) < 1e-9 for row in rows)
    assert "silk5" not in {row["item_id"] for row in ruled.lists["u00"]}
    assert "hide5" not in {row["item_id"] for row in ruled.lists["u03"]}


def test_what_lies_outside_of_the_band_stands_last_but_for_the_quota(ruled: Ruled) -> None:
    # Clients of leather have paid 1,000 and more: silk is far below, and the quota asks for one place of the first two.
    for user in ("u05", "u07"):
        placed = [(row["item_id"], row["rules"]) for row in ruled.lists[user]]
        assert placed[1] == ("silk_new", ["new_arrivals", "price_band"])
        behind = ["price_band" in (rules or []) for item, rules in placed if item != "silk_new"]
        assert behind == sorted(behind) and any(behind)


def test_an_article_of_the_first_night_has_a_score_by_its_meaning(night: Night) -> None:
    ctx = night.context({})
    interactions = ctx.read(tables.INTERACTIONS)
    bought = interactions.select("user_id", "item_id")
    plain = ranked_lists(ctx, interactions, bought, True, 20_634).persist()
    rows = plain.where("item_id = 'silk_new'").collect()
    silk = {f"u{client:02}" for client in range(0, 24, 2)}
    assert {row["user_id"] for row in rows} >= silk
    assert all(row["score"] > 0.01 and row["because_items"] for row in rows if row["user_id"] in silk)
    # Where no rule is declared lists are the model's own, and what keeps items out is still counted.
    rules = client_rules(ctx, interactions)
    ranked = ranked_lists(ctx, interactions, bought, True, 20_634, rules).persist()
    delivered = ranked.where("rank IS NOT NULL").select(*plain.columns)
    assert sorted(map(str, delivered.collect())) == sorted(map(str, plain.collect()))
    counted = rule_effects(ranked, ("availability",), ctx.settings.rules.new_arrivals)
    assert counted["withheld", "availability"] > 0 and counted["withheld", "already_bought"] > 0
    assert {slice_ for _, slice_ in counted} == {"availability", "already_bought", "all"}
    assert counted["plain_places", "all"] == 25 * 6
    assert counted["short_lists", "all"] == 0


def test_effects_are_counted_and_add_up(ruled: Ruled) -> None:
    counted = ruled.below("rules.")
    assert counted["plain_places", "all"] == 25 * 6
    withheld = {rule: value for (measure, rule), value in counted.items() if measure == "withheld"}
    assert 0 < sum(withheld.values()) <= 150
    assert withheld["client_exclusions"] >= 1 and withheld["exclusions"] > 0
    assert counted["short_lists", "all"] == sum(len(rows) < 6 for rows in ruled.lists.values())
    assert counted["quota_unmet", "all"] == 0
    assert counted["new_arrival_places", "all"] == 25
    flagged = Counter(rule for rows in ruled.lists.values() for row in rows for rule in row["rules"] or ())
    given = {rule: value for (measure, rule), value in counted.items() if measure == "places_given" and value}
    assert given == flagged and {"new_arrivals", "price_band", "diversity"} <= given.keys()
    assert counted["unknown_values", "exclude.houses"] == 1
    assert counted["unknown_values", "exclude.categories"] == 0


def test_accuracy_is_that_of_the_model_and_stands_beside_that_with_rules(ruled: Ruled) -> None:
    beside = ruled.below("rules.measured.")
    assert ruled.metrics["evaluate.isrf.NDCG@10", "all"] == beside["without_rules.NDCG@10", "all"]
    assert {"with_rules.NDCG@10", "with_rules.diversity@10", "with_rules.NDCG@10_over_without_rules.low"} <= {
        metric for metric, _ in beside
    }
    assert {slice_ for _, slice_ in beside} == {"all"}
    assert beside["with_rules.diversity@10", "all"] != beside["without_rules.diversity@10", "all"]


def test_price_bands_by_hand(spark: SparkSession) -> None:
    items = spark.createDataFrame(
        [("a", 100.0), ("b", 400.0), ("free", 0.0), ("unknown", None)], "item_id string, price double"
    )
    bought = spark.createDataFrame(
        [("u", "a", "purchase"), ("u", "b", "purchase"), ("u", "b", "view"), ("u", "free", "purchase"),
         ("u", "unknown", "purchase"), ("few", "a", "purchase")],
        "user_id string, item_id string, event_type string",
    )  # fmt: skip
    settings = RulesSettings.model_validate(
        {"price_band": {"min_events": 2, "low_quantile": 0.5, "high_quantile": 1.0, "margin": 2.0}}
    )
    (row,) = price_bands(bought, items, settings.price_band).collect()
    # The median of 100 and 400 on a logarithmic scale is 200.
    assert row["user_id"] == "u"
    assert (row["price_low"], row["price_high"]) == pytest.approx((100, 800))


def test_what_may_be_bought_again(night: Night) -> None:
    ctx = night.context(RULES)
    interactions, items = ctx.read(tables.INTERACTIONS), ctx.read(tables.ITEMS)
    bought, again = already_bought(interactions, items, ["purchase"], ctx.settings.rules, NIGHT)
    assert again is not None
    # The soap of u00 was bought 90 days before the night, that of u02 ten days.
    assert [tuple(row) for row in again.collect()] == [("u00", "soap")]
    kept = {tuple(row) for row in bought.collect()}
    assert ("u02", "soap") in kept and ("u00", "soap") not in kept and len(kept) == 122
    assert already_bought(interactions, items, [], ctx.settings.rules, NIGHT)[0].isEmpty()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "does not exist; did you mean"),
        ("client,item\nu1,a\n", "has no column 'article'"),
        ("client,article\nu1,a\nu2,\n,b\n", "2 of its rows lack a client or an article"),
        ("client,article\nu1,a,b,c\n", "1 of its rows lack a client or an article, or cannot be read"),
    ],
)
def test_a_file_of_exclusions_that_says_nothing_certain_is_refused(
    spark: SparkSession, tmp_path: Path, content: str | None, said: str
) -> None:
    (tmp_path / "refused.csv").write_text(content or "", encoding="utf-8")
    name = "refused.csv" if content is not None else "refusd.csv"
    given = RulesSettings.model_validate(
        {
            "exclude": {
                "clients": {
                    "path": str(tmp_path / name),
                    "format": "csv",
                    "columns": {"user_id": "client", "item_id": "article"},
                }
            }
        }
    ).exclude.clients
    assert given is not None
    with pytest.raises(InputRefusedError, match=r"rules\.exclude\.clients") as caught:
        read_client_exclusions(spark, given)
    assert said in str(caught.value)


def test_exclusions_are_read_with_blanks_taken_off(ruled: Ruled) -> None:
    found = client_rules(ruled.context, ruled.context.read(tables.INTERACTIONS)).barred
    assert found is not None
    assert {tuple(row) for row in found.collect()} == {
        ("u00", "silk5"),
        ("u03", "hide5"),
        ("nobody", "silk1"),
    }


def test_values_that_mean_nothing_are_named_with_the_nearest(
    night: Night, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging.getLogger("isrf"), "propagate", True)
    settings = RulesSettings.model_validate(
        {
            "exclude": {
                "items": ["silk1", "silk9"],
                "houses": ["house soap"],
                "categories": ["Leather>Bags", "Leather > Bag", "Soap"],
            },
            "replenishable": {"houses": ["House soap"], "attributes": {"scent": ["rose"]}},
            "price_band": {"outside": "remove", "event_types": ["purchases"]},
        }
    )
    items = night.context({}).read(tables.ITEMS)
    with caplog.at_level(logging.INFO, "isrf"):
        found = unknown_values(items, settings, ["purchase", "view"])
    assert found == {
        "exclude.items": 1,
        "exclude.houses": 1,
        "exclude.categories": 1,
        "replenishable.houses": 0,
        "replenishable.attributes.scent": 1,
        "price_band.event_types": 1,
    }
    named = {record.fields["value"]: record.fields["nearest"] for record in caplog.records}  # type: ignore[attr-defined]
    assert named["house soap"] == "House soap"
    assert named["Leather > Bag"] == "Leather > Bags"
    assert named["purchases"] == "purchase"
