"""The section rules: what is refused, and which rules are in force."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from isrf_pipeline.config import Settings, load_settings
from isrf_pipeline.config.settings import RulesSettings
from isrf_pipeline.errors import ConfigurationError
from isrf_pipeline.rules.names import rules_in_force


def refused(tmp_path: Path, text: str, *overrides: str) -> str:
    file = tmp_path / "rules.yaml"
    file.write_text("lake: {root: lake}\n" + text, encoding="utf-8")
    with pytest.raises(ConfigurationError) as caught:
        load_settings(file, overrides)
    return str(caught.value)


@pytest.mark.parametrize(
    ("text", "named", "said"),
    [
        ("rules: {price_bnd: {outside: remove}}", "rules.price_bnd", "did you mean 'price_band'"),
        ("rules: {exclude: {brands: [x]}}", "rules.exclude.brands", "known keys here are items, houses"),
        ("rules: {exclude: {house: [x]}}", "rules.exclude.house", "did you mean 'houses'"),
        ("rules: {exclude: {clients: {format: csv}}}", "rules.exclude.clients.path", "Field required"),
        ("rules: {price_band: {outside: drop}}", "rules.price_band.outside", "'keep', 'demote' or 'remove'"),
        (
            "rules: {price_band: {low_quantile: .9, high_quantile: .1}}",
            "rules.price_band",
            "must not lie above",
        ),
        ("rules: {cap: {house: 0}}", "rules.cap.house", "greater than or equal to 1"),
        ("rules: {cap: {category: {0: 3}}}", "rules.cap.category", "count from 1"),
        (
            "rules: {new_arrivals: {at_least: 3, of_first: 2}}",
            "rules.new_arrivals",
            "must not exceed of_first",
        ),
        ("rules: {new_arrivals: {at_least: 30}}", "rules.yaml", "must not exceed recommend.top_n (20)"),
        ("rules: {diversity: {weight: 1}}", "rules.diversity.weight", "less than 1"),
    ],
)
def test_a_rule_that_means_nothing_is_refused(tmp_path: Path, text: str, named: str, said: str) -> None:
    line = refused(tmp_path, text)
    assert named in line
    assert said in line


def test_caps_can_be_set_one_by_one(tmp_path: Path) -> None:
    file = tmp_path / "rules.yaml"
    file.write_text("lake: {root: lake}\nrules:\n  cap:\n    category: {2: 4}\n", encoding="utf-8")
    settings = load_settings(file, ["rules.cap.category.1=8", "rules.cap.house=3"]).settings
    assert settings.rules.cap.category == {1: 8, 2: 4}
    assert settings.rules.cap.house == 3


def test_without_rules_nothing_is_in_force() -> None:
    settings = Settings.model_validate({"lake": {"root": "lake"}}).rules
    assert not settings.active and not settings.reorders
    assert rules_in_force(settings, only_available=False, once=False) == ()
    assert rules_in_force(settings, only_available=True, once=True) == ("availability", "already_bought")


@pytest.mark.parametrize(
    ("rules", "names", "reorders"),
    [
        ({"exclude": {"items": ["x"]}}, ("exclusions",), False),
        ({"exclude": {"clients": {"path": "x.csv", "format": "csv"}}}, ("client_exclusions",), False),
        ({"replenishable": {"categories": ["soap"]}}, ("replenishable",), False),
        ({"price_band": {"outside": "remove"}}, ("price_band",), False),
        ({"price_band": {"outside": "demote"}}, ("price_band",), True),
        (
            {"cap": {"house": 2, "category": {2: 1, 1: 3}}},
            ("house_cap", "category_cap_1", "category_cap_2"),
            True,
        ),
        ({"new_arrivals": {"at_least": 1}}, ("new_arrivals",), True),
        ({"diversity": {"weight": 0.1}}, ("diversity",), True),
    ],
)
def test_what_is_declared_is_in_force(rules: dict[str, Any], names: tuple[str, ...], reorders: bool) -> None:
    settings = RulesSettings.model_validate(rules)
    assert settings.active
    assert settings.reorders == reorders
    in_force = rules_in_force(settings, only_available=False, once=True)
    assert tuple(name for name in in_force if name != "already_bought") == names
