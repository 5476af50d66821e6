from __future__ import annotations

import datetime
import re
from itertools import pairwise
from string import Formatter

import numpy as np
import pytest

from isrf_pipeline.demo.articles import HOUSES, Catalogue, build_catalogue
from isrf_pipeline.demo.tastes import GROUPS
from isrf_pipeline.demo.vocabulary import THEMES

RUN_DATE = datetime.date(2026, 6, 30)
KINDS = {kind.key: kind for theme in THEMES for kind in theme.kinds}


@pytest.fixture(scope="module")
def catalogue() -> Catalogue:
    return build_catalogue(300, RUN_DATE, np.random.default_rng([7, 0]))


def test_descriptions_titles_and_codes_are_unique(catalogue: Catalogue) -> None:
    assert len({article.description for article in catalogue.articles}) == 300
    assert len({article.title for article in catalogue.articles}) == 300
    assert len({article.code for article in catalogue.articles}) == 300


def test_descriptions_stay_unique_in_a_large_catalogue() -> None:
    large = build_catalogue(1500, RUN_DATE, np.random.default_rng(1))
    assert len({article.description for article in large.articles}) == 1500


def test_no_text_names_a_group(catalogue: Catalogue) -> None:
    for article in catalogue.articles:
        text = " ".join([article.title, article.description, *article.family]).lower()
        assert not any(group.name in text for group in GROUPS), article


def test_sentences_are_well_formed(catalogue: Catalogue) -> None:
    for article in catalogue.articles:
        text = article.description
        assert "{" not in text and "}" not in text and "  " not in text
        assert re.fullmatch(r"[A-ZÉ].*[.]", text), text
        assert 1 <= len(re.findall(r"[.](?= [A-Z]|$)", text)) <= 3, text
        assert not re.search(r"\b[Aa] [aeioAEIO]", text.replace("a one-", "")), text
        assert not re.search(r"\b[Aa]n (?!hour)[^aeiou18]", text), text


def test_words_keep_to_their_kind(catalogue: Catalogue) -> None:
    for article in catalogue.articles:
        kind = KINDS[article.kind]
        assert article.house in kind.houses
        assert article.material in {material for material, _ in kind.looks}
        assert article.family == kind.family
        factor = HOUSES[article.house][1]
        assert 0.9 * kind.prices[0] * factor <= article.price <= 1.1 * kind.prices[1] * factor


def test_about_six_per_cent_are_out_of_stock(catalogue: Catalogue) -> None:
    assert sum(not article.in_stock for article in catalogue.articles) == 18


def test_season_agrees_with_launch(catalogue: Catalogue) -> None:
    for article in catalogue.articles:
        assert article.launched < RUN_DATE
        half = "SS" if article.launched.month <= 6 else "FW"
        assert article.season == f"{half}{article.launched:%y}"


def test_every_kind_occurs_and_successors_follow_the_vocabulary(catalogue: Catalogue) -> None:
    assert {article.kind for article in catalogue.articles} == set(KINDS)
    for article, successor in zip(catalogue.articles, catalogue.successors, strict=True):
        follows = KINDS[article.kind].follows
        if follows:
            assert catalogue.articles[successor].kind in follows
        else:
            assert successor == -1


def test_a_collection_belongs_to_one_house(catalogue: Catalogue) -> None:
    houses: dict[str, set[str]] = {}
    for article in catalogue.articles:
        houses.setdefault(article.collection, set()).add(article.house)
    assert all(len(owners) == 1 for owners in houses.values())


def test_vocabularies_hold_together() -> None:
    assert len(KINDS) == sum(len(theme.kinds) for theme in THEMES), "keys are unique"
    known = {"house", "collection"}
    for theme in THEMES:
        houses = {house for kind in theme.kinds for house in kind.houses}
        assert houses <= set(HOUSES)
        assert len(theme.collections) >= len(houses), "a house without a collection has no name to give"
        for kind in theme.kinds:
            assert set(kind.follows) <= set(KINDS)
            for phrases in (kind.details, kind.facts, kind.moments, kind.nouns):
                assert len(set(phrases)) == len(phrases)
            for sentence in kind.facts + kind.moments:
                assert sentence.endswith(".")
                assert {name for _, name, _, _ in Formatter().parse(sentence) if name} <= known
    for group in GROUPS:
        assert set(group.borrowed) <= set(KINDS)
        assert set(group.houses) <= set(HOUSES)
        assert group.theme in {theme.key for theme in THEMES}


def test_phrases_are_dealt_evenly(catalogue: Catalogue) -> None:
    suits = [article.description for article in catalogue.articles if article.kind == "suit"]
    assert len(suits) >= 7
    openings = [re.split(r"(?<=[.]) ", text)[0] for text in suits]
    assert all(one != two for one, two in pairwise(sorted(openings)))
