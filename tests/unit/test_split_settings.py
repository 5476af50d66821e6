"""What settings of the split must fit together, and what is said of a split beside its figures."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from isrf_pipeline.config.settings import SplitSettings
from isrf_pipeline.evaluation.split import describe_split


@pytest.mark.parametrize(
    ("given", "rule"),
    [
        ({"validation_from": "2024-01-01"}, "must be given together"),
        ({"validation_from": "2024-01-02", "test_from": "2024-01-02"}, "must be before test_from"),
        ({"validation_from": "2024-01-02", "test_from": "2nd of May"}, "must be a day"),
        ({"policy": "none", "unseen_clients": 0.1}, "needs a policy that holds events out"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(given: dict[str, object], rule: str) -> None:
    with pytest.raises(ValidationError, match=rule):
        SplitSettings.model_validate(given)


def test_a_split_says_what_its_figures_rest_on() -> None:
    assert describe_split(SplitSettings()).startswith("leave-one-out; statistics from training events")
    by_share = describe_split(SplitSettings(policy="temporal", test_share=0.2, unseen_clients=0.05))
    assert "newest 20% of the events are the test window, the 10% before them" in by_share
    assert by_share.endswith("5% of the clients are unseen in training")
    by_day = describe_split(
        SplitSettings(policy="temporal", validation_from="2013-01-01", test_from="2014-01-01")
    )
    assert "validation from 2013-01-01, test from 2014-01-01" in by_day
