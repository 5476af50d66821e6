"""The command that starts a server which answers as the engine would."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

from isrf_pipeline.config.settings import ReasoningSettings
from isrf_pipeline.reasoning.serving import server_command, server_variables


def options(command: list[str]) -> dict[str, str]:
    return {name: value for name, value in itertools.pairwise(command) if name.startswith("--")}


def test_a_server_has_the_settings_of_the_engine(tmp_path: Path) -> None:
    engine = {"model": str(tmp_path), "max_model_len": 4096, "max_num_seqs": 7, "seed": 3, "dtype": "float32"}
    settings = ReasoningSettings.model_validate({"engine": engine, "server": {"served_model": "large"}})
    given = options(server_command(settings, "0.0.0.0", 8123))
    assert given["--model"] == str(tmp_path) and given["--served-model-name"] == "large"
    assert (given["--host"], given["--port"]) == ("0.0.0.0", "8123")
    assert (given["--max-model-len"], given["--max-num-seqs"], given["--seed"]) == ("4096", "7", "3")
    assert json.loads(given["--structured-outputs-config"])["backend"] == "guidance"
    assert "--revision" not in given


def test_only_a_model_of_the_hub_has_a_revision() -> None:
    engine = {"model": "house/model", "revision": "abc", "dtype": "float32"}
    settings = ReasoningSettings.model_validate({"engine": engine})
    assert options(server_command(settings, "127.0.0.1", 8000))["--revision"] == "abc"


def test_the_key_stands_in_no_command_line() -> None:
    settings = ReasoningSettings.model_validate({"server": {"api_key": "s3cret"}})
    assert "s3cret" not in " ".join(server_command(settings, "127.0.0.1", 8000))
    assert server_variables(settings)["VLLM_API_KEY"] == "s3cret"
