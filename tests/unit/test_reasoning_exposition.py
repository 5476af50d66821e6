from __future__ import annotations

from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from isrf_pipeline.errors import EnvironmentMismatchError
from isrf_pipeline.reasoning.exposition import write_exposition
from isrf_pipeline.reasoning.tally import StepTally, Tally

TALLY = Tally({"item.single": StepTally(11, 3000, 900, 1500, 9, 1, 1)}, 10, 30.0)


def test_a_node_exporter_reads_what_was_counted(tmp_path: Path) -> None:
    write_exposition(tmp_path / "isrf_{subject}.prom", "item", TALLY, 90)
    text = (tmp_path / "isrf_items.prom").read_text()
    found = {
        (sample.name, sample.labels.get("step")): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }
    assert found["isrf_reasoning_calls", "single"] == 11
    assert found["isrf_reasoning_dead", "single"] == 1
    assert found["isrf_reasoning_subjects_left", None] == 90
    assert found["isrf_reasoning_output_tokens_per_second", None] == 30
    assert found["isrf_reasoning_valid_share", None] == 0.9


def test_a_folder_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(EnvironmentMismatchError, match="cannot be written"):
        write_exposition(tmp_path / "absent" / "isrf.prom", "item", TALLY, 0)
