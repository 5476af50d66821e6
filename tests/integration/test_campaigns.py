"""Campaign audiences on a lake made by hand: who is in, who is left out and why, who is held out, what is shared."""

from __future__ import annotations

import datetime
import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from scipy import sparse

from isrf_pipeline.campaigns import checking, night
from isrf_pipeline.campaigns.brief import Brief
from isrf_pipeline.campaigns.checking import check_in_lake, titles_of
from isrf_pipeline.campaigns.night import briefs_of_the_night, campaign_night, write_audiences
from isrf_pipeline.config import Settings
from isrf_pipeline.errors import ConfigurationError
from isrf_pipeline.interests.chosen import ChosenModel
from isrf_pipeline.interests.model import InterestModel
from isrf_pipeline.interests.propagation import FusionWeights
from isrf_pipeline.interests.rounds import with_group
from isrf_pipeline.interests.scoring_inputs import ScoringInputs
from isrf_pipeline.lake import Lake, Table, tables
from isrf_pipeline.publication.record import record_publication
from isrf_pipeline.stages.context import StageContext

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, Row, SparkSession

pytestmark = pytest.mark.spark

NIGHT = datetime.date(2026, 6, 30)
TITLES = {"a": "Atlas bag", "b": "Belt", "c": "Coat", "d": "Dress", "e": "Earrings"}
#: Newest first; a leads to c, and weakly to d; b leads to d.
HISTORIES = {
    "yes": "a", "yes too": "a", "long ago": "a", "refused": "a", "spring": "a", "bought": "ca", "listed": "a",
    "left out": "a", "other taste": "b", "has the dress": "b",
}  # fmt: skip
BRIEFS = [
    {
        "id": "arrivals",
        "name": "Arrivals",
        "target": {"items": ["c", "unknown"]},
        "size": 10,
        "min_score": 0.6,
        "holdout_share": 0.5,
        "exclude": {
            "buyers": True,
            "earlier_campaigns": {"within_days": 30},
            "clients_file": "listed.txt",
            "segments": ["Left out"],
        },
    },
    {
        "id": "circle",
        "name": "Circle",
        "target": {"segment": "Silk"},
        "size": 2,
        "require_consent": False,
        "exclude": {"earlier_campaigns": {"ids": ["circle"]}},
    },
    {"id": "gone", "name": "Gone", "target": {"segment": "Nobody's"}, "size": 5},
    {
        "id": "no-list",
        "name": "No list",
        "target": {"items": ["c"]},
        "size": 5,
        "exclude": {"clients_file": "x.txt"},
    },
    {"id": "sea", "name": "Sea", "target": {"theme": "by the sea"}, "size": 3, "require_consent": False},
]


def model() -> InterestModel:
    followed = np.zeros((5, 5), np.float32)
    followed[0, 2], followed[0, 3], followed[1, 3] = 4, 1, 2
    return InterestModel(
        np.array([*TITLES]),
        sparse.csr_matrix(followed),
        sparse.csr_matrix((5, 5), dtype=np.float32),
        np.eye(5, dtype=np.float32),
        np.array([1, 1, 1, 1, 99], np.float32),
        np.ones(5, bool),
    )


@dataclass(frozen=True)
class MadeNight:
    """A night whose campaigns have been run."""

    ctx: StageContext
    briefs: list[Brief]
    audience: dict[str, dict[str, Row]]
    results: dict[str, Row]
    shared: list[Row]
    again: list[Row]


def write(ctx: StageContext, table: Table, rows: list[tuple[Any, ...]]) -> None:
    ctx.lake.overwrite(table, ctx.spark.createDataFrame(rows, table.ddl()))


@pytest.fixture(scope="module")
def made(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> MadeNight:
    root = tmp_path_factory.mktemp("campaigns")
    settings = Settings.model_validate(
        {"lake": {"root": str(root / "lake")}, "campaigns": {"theme_items": 1}}
    )
    ctx = StageContext(spark, settings, Lake(spark, settings.lake), NIGHT, "run")
    people = [*HISTORIES, "new"]
    write(ctx, tables.CLIENTS, [(user, {}, user != "refused") for user in people])
    write(ctx, tables.ITEMS, [
        (item, title, None, [], None, None, {}, True, None, "0") for item, title in TITLES.items()
    ])  # fmt: skip
    vectors = dict(zip(TITLES, np.eye(5).tolist(), strict=True))
    write(ctx, tables.ITEM_FEATURES, [
        (item, None, None, None, [], "attributes", None, v, None, None, None, v) for item, v in vectors.items()
    ])  # fmt: skip
    segments = [
        (NIGHT, "s1", "Silk", "", 3, []),
        (NIGHT, "s2", "Left out", "", 1, []),
        (NIGHT - datetime.timedelta(days=1), "s9", "Nobody's", "", 1, []),
    ]
    # The night works on what waits for its gates; the check of briefs looks at what consumers see.
    for table in (tables.SEGMENTS.pending, tables.SEGMENTS):
        write(ctx, table, segments)
    record_publication(ctx.lake, NIGHT, "run", "published", {})
    write(ctx, tables.AUDIENCES, [
        (NIGHT - datetime.timedelta(days=days), campaign, user, 1, 1.0, None, None, None)
        for campaign, user, days in [
            ("spring", "spring", 3), ("spring", "long ago", 31), ("hero:c", "yes", 1), ("circle", "refused", 1),
        ]
    ])  # fmt: skip
    (root / "listed.txt").write_bytes("\ufefflisted\r\n\r\n  new \r\n".encode())
    briefs = [with_folder(Brief.model_validate(brief), root) for brief in BRIEFS]
    members = spark.createDataFrame(
        [("yes", "s1", 0.25), ("refused", "s1", 0.9), ("spring", "s1", 0.5), ("left out", "s2", 1.0)],
        "user_id string, segment_id string, affinity double",
    )
    bought = spark.createDataFrame(
        [("bought", "c"), ("has the dress", "d")], "user_id string, item_id string"
    )
    inputs = scoring(spark, people, bought)

    def run() -> None:
        with pytest.MonkeyPatch.context() as patch:
            # The encoder's reading of the theme: the dress, and nothing else.
            patch.setattr(night, "theme_vectors", lambda *_: {"sea": np.eye(5, dtype=np.float32)[3]})
            made_night = campaign_night(ctx, briefs, inputs, bought, members, only_available=True)
        heroes = spark.createDataFrame(
            [("hero:c", "yes", 1, 1.0)], "campaign_id string, user_id string, rank int, score double"
        )
        write_audiences(ctx, heroes, made_night)

    def rows(table: Table) -> list[Row]:
        return ctx.stored(table).where(f"run_date = '{NIGHT}'").orderBy(*table.key).collect()

    run()
    audience: dict[str, dict[str, Row]] = {}
    first = rows(tables.AUDIENCES)
    for row in first:
        audience.setdefault(row["campaign_id"], {})[row["user_id"]] = row
    results = {row["campaign_id"]: row for row in rows(tables.CAMPAIGNS)}
    shared = rows(tables.CAMPAIGN_OVERLAPS)
    run()
    again = [*rows(tables.AUDIENCES), *rows(tables.CAMPAIGNS), *rows(tables.CAMPAIGN_OVERLAPS)]
    assert again == [*first, *results.values(), *shared]
    return MadeNight(ctx, briefs, audience, results, shared, again)


def with_folder(brief: Brief, folder: Path) -> Brief:
    """The brief as it is once it has been read from ``folder``."""
    listed = brief.exclude.clients_file
    if listed is None:
        return brief
    exclude = brief.exclude.model_copy(update={"clients_file": str(folder / listed)})
    return brief.model_copy(update={"exclude": exclude})


def scoring(spark: SparkSession, people: list[str], bought: DataFrame) -> ScoringInputs:
    from pyspark.sql import functions as F

    codes = {item: code for code, item in enumerate(TITLES)}
    excluded = {row["user_id"]: [codes[row["item_id"]]] for row in bought.collect()}
    rows = [
        (user, [codes[item] for item in HISTORIES.get(user, "")], excluded.get(user, [])) for user in people
    ]
    clients = spark.createDataFrame(rows, "user_id string, codes array<int>, excluded array<int>").withColumn(
        "weights", F.transform("codes", lambda _: F.lit(1.0).cast("float"))
    )
    weights = FusionWeights(semantic=0.0, implicit=0.0, feedback=0.0, decay=0.5)
    return ScoringInputs(
        with_group(clients, None),
        spark.sparkContext.broadcast(model()),
        ChosenModel(0, weights, None, None),
        spark.createDataFrame(list(codes.items()), "item_id string, code int"),
    )


def test_each_client_left_out_is_counted_with_the_first_rule_that_did(made: MadeNight) -> None:
    result = made.results["arrivals"]
    assert result["excluded"] == {
        "no_consent": 1,
        "earlier_campaign": 1,  # of spring, 3 days ago; 31 days ago is too long, and a hero item asked nobody
        "buyer": 1,
        "listed": 2,  # the new one among them, before his missing history
        "segment": 1,
        "below_min_score": 2,  # who has b: the coat is no better than a and e
    }
    assert (result["eligible"], result["found"]) == (3, 3)
    assert made.audience["arrivals"].keys() == {"yes", "yes too", "long ago"}


def test_fit_and_reason_follow_from_the_history(made: MadeNight) -> None:
    row = made.audience["arrivals"]["yes"]
    assert (row["score"], row["item_id"]) == (1.0, "c")
    assert row["reason"] == "Fits best: Coat, ahead of all other articles. Goes with Atlas bag."
    assert made.results["arrivals"]["target_items"] == {"c": 1.0}
    assert (
        made.results["arrivals"]["note"] == "target.items: 1 of 2 articles are not in the catalogue (unknown)"
    )


def test_a_theme_stands_for_its_nearest_articles_and_the_best_fits_come_first(made: MadeNight) -> None:
    result, audience = made.results["sea"], made.audience["sea"]
    assert (result["target_kind"], result["target"], result["target_items"]) == (
        "theme",
        "by the sea",
        {"d": 1.0},
    )
    # Who has b has the dress before all else, and so has who has the coat already; of the others with a, for whom the
    # coat comes before it, one fills the size.
    assert {user for user, row in audience.items() if row["score"] == 1.0} == {"other taste", "bought"}
    assert [row["score"] for row in sorted(audience.values(), key=lambda row: row["rank"])] == [
        1.0,
        1.0,
        0.75,
    ]
    assert result["excluded"] == {"all_bought": 1, "no_history": 1}
    assert (result["eligible"], result["found"]) == (9, 3)


def test_a_segment_is_ordered_by_affinity_and_its_own_earlier_nights_can_be_left_out(made: MadeNight) -> None:
    result, audience = made.results["circle"], made.audience["circle"]
    assert [(user, row["rank"], row["score"]) for user, row in audience.items()] == [
        ("spring", 1, 0.5),
        ("yes", 2, 0.25),
    ]
    assert (result["target"], result["excluded"]) == ("s1", {"earlier_campaign": 1})
    assert audience["yes"]["item_id"] is None
    assert audience["yes"]["reason"] == (
        "In the segment Silk; 25 % of the client's most similar clients are in it too."
    )


def test_the_holdout_is_drawn_by_campaign_and_client_alone(made: MadeNight) -> None:
    def held_out(campaign: str, user: str, share: float) -> bool:
        digest = hashlib.sha256(f"holdout:{campaign}:{user}".encode()).hexdigest()
        return int(digest[:13], 16) / 16**13 < share

    drawn = {user: row["holdout"] for user, row in made.audience["arrivals"].items()}
    assert drawn == {user: held_out("arrivals", user, 0.5) for user in drawn}
    assert made.results["arrivals"]["holdout"] == sum(drawn.values())
    assert {row["holdout"] for row in made.audience["sea"].values()} == {False}


def test_a_campaign_that_cannot_run_says_why_and_stops_nobody(made: MadeNight) -> None:
    gone, listless = made.results["gone"], made.results["no-list"]
    assert (gone["status"], gone["found"], gone["excluded"]) == ("skipped", 0, {})
    assert gone["note"] == "target.segment: no segment of the night is called 'Nobody's'"
    assert listless["status"] == "skipped" and "x.txt does not exist" in listless["note"]
    assert made.audience.keys() == {"arrivals", "circle", "sea", "hero:c"}


def test_overlap_is_with_other_campaigns_of_earlier_nights(made: MadeNight) -> None:
    spring = NIGHT - datetime.timedelta(days=3)
    found = {(row["campaign_id"], row["other_campaign_id"]): row for row in made.shared}
    row = found["arrivals", "spring"]
    assert (row["last_night"], row["shared_clients"], row["share"]) == (spring, 1, pytest.approx(1 / 3))
    assert found["circle", "spring"]["shared_clients"] == 1
    assert all(not other.startswith("hero:") and other != own for own, other in found)


def test_audiences_of_hero_items_stay_as_they_were(made: MadeNight) -> None:
    (row,) = made.audience["hero:c"].values()
    assert (row["rank"], row["score"], row["reason"], row["holdout"]) == (1, 1.0, None, None)


def test_the_check_refuses_what_the_lake_lacks_and_else_names_the_articles(
    made: MadeNight, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checking, "theme_vectors", lambda *_: {"sea": np.eye(5, dtype=np.float32)[3]})
    with pytest.raises(ConfigurationError, match=r"campaign arrivals key target.items: 1 of 2 .* not in the"):
        check_in_lake(made.ctx, made.briefs)
    campaigns = check_in_lake(made.ctx, [made.briefs[1], made.briefs[4]])
    assert [dict(campaign.items) for campaign in campaigns] == [{}, {"d": 1.0}]
    assert titles_of(made.ctx, campaigns) == {"d": "Dress"}


def test_a_night_without_campaigns_leaves_none_of_before(made: MadeNight, tmp_path: Path) -> None:
    assert briefs_of_the_night(made.ctx) == []
    heroes = made.ctx.spark.createDataFrame(
        [("hero:c", "yes", 1, 1.0)], "campaign_id string, user_id string, rank int, score double"
    )
    write_audiences(made.ctx, heroes, None)
    night_of = f"run_date = '{NIGHT}'"
    left = made.ctx.stored(tables.AUDIENCES).where(night_of).collect()
    assert [row["campaign_id"] for row in left] == ["hero:c"]
    assert made.ctx.stored(tables.CAMPAIGNS).where(night_of).isEmpty()
    bare = Settings.model_validate({"lake": {"root": str(tmp_path)}})
    fresh = StageContext(made.ctx.spark, bare, Lake(made.ctx.spark, bare.lake), NIGHT, "run")
    write_audiences(fresh, heroes, None)
    assert not fresh.exists(tables.CAMPAIGNS) and not fresh.exists(tables.CAMPAIGN_OVERLAPS)
