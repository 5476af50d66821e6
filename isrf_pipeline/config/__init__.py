"""Configuration: YAML files and overrides validated into typed, frozen settings."""

from isrf_pipeline.config.loading import EffectiveSettings, load_settings
from isrf_pipeline.config.settings import Settings

__all__ = ["EffectiveSettings", "Settings", "load_settings"]
