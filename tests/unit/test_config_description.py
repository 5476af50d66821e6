"""The page on configuration is generated from the settings, and so is never behind them."""

from __future__ import annotations

from pathlib import Path

from isrf_pipeline.config.description import settings_table
from isrf_pipeline.config.keys import known_keys
from isrf_pipeline.config.settings import Settings

PAGE = Path(__file__).parents[2] / "docs" / "configuration.md"


def test_the_table_lists_every_key_once() -> None:
    lines = settings_table()
    for key in known_keys():
        assert sum(line.startswith(f"| `{key}` |") for line in lines) == 1, key


def test_every_setting_says_what_it_means() -> None:
    silent = [line for line in settings_table() if line.startswith("| `") and line.endswith("|  |")]
    assert silent == []


def test_the_page_holds_the_table_as_it_is_now() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert "\n".join(settings_table()) in text, (
        "run: isrf config describe, and put its output into docs/configuration.md"
    )


def test_defaults_and_bounds_are_shown() -> None:
    lines = settings_table()
    assert any(line.startswith("| `recommend.top_n` | int >= 1 <= 200 | `20` |") for line in lines)
    assert any(line.startswith("| `lake.root` | str | required |") for line in lines)
    assert any("`ingest.interactions.N.columns.user_id`" in line for line in lines)
    assert len(Settings.model_fields) > 5
