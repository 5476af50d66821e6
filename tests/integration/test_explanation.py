"""The way from a client's events to its list, on tables small enough to work out by hand."""

from __future__ import annotations

import datetime
from typing import TYPE_CHECKING, Any

import pytest

from isrf_pipeline.cli.explain import explanation
from isrf_pipeline.config import Settings
from isrf_pipeline.explanation.own_interest import edges_between, own_interest_lines
from isrf_pipeline.explanation.shared_interest import group_of, model_lines
from isrf_pipeline.lake import Lake, Table, tables

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

NIGHT = datetime.date(2026, 6, 28)
NOON = datetime.datetime(2026, 6, 1, 12, tzinfo=datetime.UTC)


@pytest.fixture(scope="module")
def told(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Lake:
    """A client ``u`` with a bag and a scarf, three others, and one who has shown nothing."""

    root = str(tmp_path_factory.mktemp("explained") / "lake")
    lake = Lake(spark, Settings.model_validate({"environment": "test", "lake": {"root": root}}).lake)

    def fill(table: Table, names: str, *rows: tuple[Any, ...]) -> None:
        empty = dict.fromkeys(table.column_names())
        wanted = [empty | dict(zip(names.split(), row, strict=True)) for row in rows]
        lake.append(table, spark.createDataFrame([tuple(row.values()) for row in wanted], table.ddl()))

    bought = [
        ("u", "bag"),
        ("u", "scarf"),
        ("v", "bag"),
        ("v", "hat"),
        ("w", "hat"),
        ("w", "belt"),
        ("x", "hat"),
    ]
    fill(
        tables.INTERACTIONS,
        "user_id item_id event_type ts weight run_id",
        *((user, item, "purchase", NOON, 1.0, "r") for user, item in bought),
    )
    fill(tables.CLIENTS, "user_id attributes consent", ("u", {}, True), ("quiet", {}, True))
    fill(
        tables.ITEMS,
        "item_id title attributes available content_hash",
        ("bag", "Calf bag", {}, True, "1"),
        ("scarf", "Silk scarf", {}, True, "2"),
        ("hat", "Straw hat", {}, True, "3"),
        ("belt", None, {}, True, "4"),
    )
    fill(
        tables.EDGES,
        "src dst relation weight",
        ("u:u", "i:bag", "interacted", 1.0),
        ("u:u", "i:scarf", "interacted", 0.5),
        ("u:v", "i:hat", "interacted", 1.0),
        ("i:bag", "h:one", "of_house", 1.0),
        ("i:scarf", "h:two", "of_house", 1.0),
        ("i:hat", "h:three", "of_house", 1.0),
        ("i:bag", "t:calf", "has_tag", 0.2),
        ("i:scarf", "t:calf", "has_tag", 0.4),
        ("i:bag", "i:hat", "followed_by", 0.2),
        ("i:bag", "i:hat", "similar_meaning", 0.3),
        ("i:hat", "i:bag", "followed_by", 0.9),
    )
    fill(tables.VERTICES, "id kind label", ("h:one", "house", "House One"), ("h:two", "house", "House Two"))
    fill(tables.USER_FEATURES, "user_id interest origin", ("u", "Bags for evenings.", "llm"))
    fill(
        tables.SIMILARITY,
        "src dst round similarity rank",
        ("u", "v", 1, 0.9, 1),
        ("u", "w", 1, 0.5, 2),
        ("u", "x", 0, 0.7, 1),
        ("v", "x", 1, 0.7, 1),
    )
    fill(
        tables.RECOMMENDATIONS,
        "run_date user_id rank item_id score explicit_share implicit_share reason because_items",
        (NIGHT, "u", 1, "hat", 1.5, 0.75, 0.25, "Goes with Calf bag.", ["bag"]),
        (NIGHT, "quiet", 1, "bag", 0.5, 0.0, 1.0, "Much loved.", []),
    )
    return lake


def test_attributes_add_up_over_both_edges(told: Lake) -> None:
    # House One 1 x 1, House Two .5 x 1; calf 1 x .2 + .5 x .4, the only tag.
    assert own_interest_lines(told, "u") == [
        "  in words (llm): Bags for evenings.",
        "  houses: House One 1.00, House Two 0.50",
        "  tags: calf 1.00",
    ]


def test_the_group_is_that_of_the_round_and_names_what_the_client_lacks(told: Lake) -> None:
    group = group_of(told, "u", 1)
    assert group is not None
    assert (group.size, round(group.nearest, 3), round(group.farthest, 3)) == (2, 0.9, 0.5)
    assert group.items == [("hat", 2), ("belt", 1)]
    assert group_of(told, "quiet", 1) is None


def test_edges_are_read_in_their_direction(told: Lake) -> None:
    assert edges_between(told, {("bag", "hat"), ("scarf", "hat")}) == {
        ("bag", "hat"): ["similar meaning 0.30", "followed by 0.20"]
    }
    assert edges_between(told, set()) == {}


def test_every_step_from_events_to_list_is_told(told: Lake) -> None:
    text = "\n".join(explanation(told, "u", NIGHT))
    steps = [
        "2026-06-01  purchase  bag    Calf bag",
        "own interest (explicit):",
        "similar clients (implicit): 1, cosine 0.70 to 0.70, who also chose:",
        "1 of 1   hat   Straw hat",
        "the night's model is not kept any more",
        "  1. hat  Straw hat",
        "75% from the own history, 25% from similar clients",
        "because of bag Calf bag: similar meaning 0.30, followed by 0.20",
    ]
    places = [text.find(step) for step in steps]
    assert -1 not in places, text
    assert places == sorted(places)


def test_a_client_without_events_is_explained_too(told: Lake) -> None:
    text = "\n".join(explanation(told, "quiet", NIGHT))
    assert "no history: the list comes from clients who share attributes" in text
    assert "  1. bag  Calf bag" in text


def test_weights_of_nothing_are_not_named(spark: SparkSession) -> None:
    row = spark.sql(
        "SELECT 2 round, 1.0D followed_weight, 0.0D semantic_weight, 0.7D sequence_weight, "
        "0.0D generator_weight, 0.4D implicit_weight, 0.0D feedback_weight, 'fusion' ranked_by"
    ).first()
    assert model_lines(row) == [
        "how scores were made: round 2 of the user graph; candidates by the sum of what follows what 1, "
        "the sequence model 0.7, similar clients 0.4; ordered by that sum"
    ]
