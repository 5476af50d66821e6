"""Clients without any event, by the attributes they share with others; worked out by hand."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from isrf_pipeline.interests.cold import attribute_interest

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


def test_attribute_interest_by_hand(spark: SparkSession) -> None:
    clients = spark.createDataFrame(
        [
            ("fr1", {"country": "France", "tier": "gold", "email": "x"}),
            ("fr2", {"country": "France", "tier": None}),
            ("it1", {"country": "Italy", "tier": "gold"}),
            ("both", {"country": "France", "tier": "gold"}),
            ("tier", {"tier": "gold", "email": "x"}),
            ("alone", {"country": "Malta", "email": "x"}),
            ("bare", {}),
        ],
        "user_id string, attributes map<string,string>",
    )
    histories = spark.createDataFrame(
        [("fr1", [0, 1]), ("fr2", [1]), ("it1", [2, 3])], "user_id string, codes array<int>"
    )
    rows = {
        row["user_id"]: row
        for row in attribute_interest(clients, histories, ["country", "tier"], 3).collect()
    }
    # Nobody with a history is in Malta, "bare" shows nothing, and an address is no allowed attribute.
    assert rows.keys() == {"both", "tier"}
    # Gold, of 2 clients: one each has 0, 1, 2 and 3, of which the first three stay, 1/22 each.
    assert rows["tier"]["group_codes"] == [0, 1, 2]
    assert rows["tier"]["group_values"] == pytest.approx([1, 1, 1])
    # France, of 2 clients: both have 1 and one has 0: 2/22 and 1/22 beside gold's 1/22 each.
    assert rows["both"]["group_codes"] == [1, 0, 2]
    assert rows["both"]["group_values"] == pytest.approx([1, 2 / 3, 1 / 3])
