"""Whether interest texts count when clients are compared: judged by what similar clients foresee."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import pytest

from isrf_pipeline.config import Settings
from isrf_pipeline.graphs.text_choice import choose_text_weight, group_gains

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


def test_gains_are_those_of_the_group_list_worked_out_by_hand(spark: SparkSession) -> None:
    # The judge j has item 0; v (cosine 1) has 0, 1, 2 and w (cosine 0) has 3. Everybody's items are equally popular, so
    # 1 stands before 2 by its larger weight; k's only neighbours of cosine 1 have nothing new.
    profiles = spark.createDataFrame(
        [("j", [1.0, 0.0]), ("v", [1.0, 0.0]), ("w", [0.0, 1.0]), ("k", [-1.0, 0.0])],
        "user_id string, embedding array<float>",
    )
    histories = spark.createDataFrame(
        [("j", [0], [1.0]), ("v", [0, 1, 2], [1.0, 1.0, 0.5]), ("w", [3], [1.0]), ("k", [4], [1.0])],
        "user_id string, codes array<int>, weights array<float>",
    )
    popularity = np.full(5, 4, np.float32)
    settings = Settings.model_validate({"lake": {"root": "unused"}, "user_graph": {"neighbours": 2}})

    def gains(target: int) -> float:
        judges = spark.createDataFrame([("j", [0], target)], "user_id string, codes array<int>, target int")
        return float(group_gains(profiles, judges, histories, popularity, settings)[0])

    assert gains(1) == pytest.approx(1.0)
    assert gains(2) == pytest.approx(1 / math.log2(3))
    assert gains(4) == 0.0


def test_what_is_not_better_by_more_than_the_noise_is_left_out() -> None:
    base = np.array([0.5, 0.0, 0.5, 0.0])
    by_weight = {0.0: base, 0.25: base + 0.1, 0.5: base + 0.2, 1.0: base + np.array([4.0, -1.0, -1.0, -1.0])}
    assert choose_text_weight([0.0, 0.25, 0.5], by_weight.__getitem__).weight == 0.5
    # A mean gain of .25 whose error is 1.08 is no gain; the smaller and certain one is.
    assert choose_text_weight([1.0, 0.25], by_weight.__getitem__).weight == 0.25
    worse = choose_text_weight([0.5], {0.0: base, 0.5: base - 0.1}.__getitem__)
    assert (worse.weight, worse.gain) == (0.0, pytest.approx(-0.1))
    assert choose_text_weight([0.0, 0.5, 0.25], None).weight == 0.25
    assert choose_text_weight([0.0], None).weight == 0.0
