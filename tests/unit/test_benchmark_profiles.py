"""Profiles of the benchmark are settings that exist, and say what they change."""

from __future__ import annotations

import importlib.resources

from isrf_pipeline.config import load_settings
from isrf_pipeline.evaluation.benchmark import PROFILES, changes_of


def test_every_profile_loads_and_only_the_full_one_changes_nothing() -> None:
    base = importlib.resources.files("isrf_pipeline.evaluation") / "benchmark.yaml"
    with importlib.resources.as_file(base) as file:
        full = load_settings(file).settings.model_dump()
        for profile in PROFILES:
            changed = load_settings(file, changes_of(profile)).settings.model_dump()
            assert (changed == full) == (profile == "full")


def test_overrides_come_after_the_profile() -> None:
    base = importlib.resources.files("isrf_pipeline.evaluation") / "benchmark.yaml"
    with importlib.resources.as_file(base) as file:
        settings = load_settings(file, [*changes_of("fast"), "ranker.enabled=true"]).settings
    assert settings.ranker.enabled and not settings.optimize.alignment.enabled
