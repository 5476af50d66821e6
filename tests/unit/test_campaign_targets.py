"""What briefs name, looked up in a small catalogue and three segments."""

from __future__ import annotations

from typing import Any

import numpy as np

from isrf_pipeline.campaigns.brief import Brief
from isrf_pipeline.campaigns.targets import Campaign, Catalogue, find_targets, nearest_items

CATALOGUE = Catalogue(
    np.array(["bag", "belt", "boot", "scarf"]),
    np.array([[1, 0], [0.8, 0.6], [-1, 0], [0.8, 0.6]], np.float32),
    np.array([True, True, True, False]),
)
SEGMENTS = {"s1": "Silk", "s2": "Mixed tastes", "s3": "Mixed tastes"}
EAST = np.array([1, 0], np.float32)


def found(target: dict[str, Any], **exclude: Any) -> Campaign:
    brief = Brief.model_validate({"id": "x", "name": "X", "target": target, "size": 5, "exclude": exclude})
    return find_targets(brief, CATALOGUE, SEGMENTS, EAST if brief.target.theme else None, 2)


def test_articles_count_once_and_need_not_be_available() -> None:
    campaign = found({"items": ["scarf", "bag", "bag"]})
    assert campaign.items == {"bag": 1.0, "scarf": 1.0}
    assert campaign.runs and not campaign.faults
    assert campaign.note == "1 of 2 articles are not available"


def test_an_unknown_article_is_left_out_and_named_with_the_nearest() -> None:
    campaign = found({"items": ["bag", "scraf"]})
    assert campaign.items == {"bag": 1.0} and campaign.runs
    (fault,) = campaign.faults
    assert str(fault) == (
        "campaign x key target.items: 1 of 2 articles are not in the catalogue (scraf); "
        "did you mean 'scarf' for 'scraf'."
    )
    assert campaign.note == "target.items: 1 of 2 articles are not in the catalogue (scraf)"


def test_a_campaign_for_unknown_articles_alone_cannot_run() -> None:
    campaign = found({"items": [f"no{place}" for place in range(5)]})
    assert not campaign.runs and campaign.items == {}
    assert "5 of 5 articles are not in the catalogue (no0, no1, no2 and others)" in str(campaign.faults[0])


def test_a_theme_is_its_nearest_available_articles_weighted_by_cosine() -> None:
    # The scarf is as near as the belt, but not available; the boot points the other way.
    assert nearest_items(EAST, CATALOGUE, 9) == {"bag": 1.0, "belt": 0.8}
    assert nearest_items(EAST, CATALOGUE, 1) == {"bag": 1.0}
    assert found({"theme": "to the east"}).items == {"bag": 1.0, "belt": 0.8}


def test_a_theme_that_nothing_comes_near_cannot_run() -> None:
    alone = Catalogue(CATALOGUE.item_ids[2:3], CATALOGUE.embeddings[2:3], CATALOGUE.available[2:3])
    brief = Brief.model_validate({"id": "x", "name": "X", "target": {"theme": "east"}, "size": 5})
    campaign = find_targets(brief, alone, {}, EAST, 2)
    assert not campaign.runs
    assert "no available article comes near it; use other words" in str(campaign.faults[0])


def test_a_segment_is_named_by_id_or_by_a_name_that_only_one_has() -> None:
    assert found({"segment": "s2"}).segment_id == "s2"
    assert found({"segment": "Silk"}).segment_id == "s1"
    twice, unknown = found({"segment": "Mixed tastes"}), found({"segment": "silk"})
    assert not twice.runs and not unknown.runs
    assert "2 segments are called 'Mixed tastes'; write one of s2, s3" in str(twice.faults[0])
    assert "no segment of the night is called 'silk'; did you mean 'Silk'" in str(unknown.faults[0])


def test_a_segment_to_leave_out_that_is_not_there_keeps_the_campaign_from_running() -> None:
    assert found({"items": ["bag"]}, segments=["Silk", "s3"]).left_out_segments == ("s1", "s3")
    campaign = found({"items": ["bag"]}, segments=["Silk", "gone"])
    assert not campaign.runs
    assert str(campaign.faults[0]).startswith("campaign x key exclude.segments.1: no segment of the night")
