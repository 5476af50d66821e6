from __future__ import annotations

import datetime
import gzip
import json
from collections import Counter, defaultdict
from pathlib import Path

import pandas as pd
import pytest

from isrf_pipeline.demo import generate_research_set
from isrf_pipeline.errors import UsageError


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("research")
    generate_research_set(directory, users=300, items=150, seed=5)
    return directory


def interactions(folder: Path) -> pd.DataFrame:
    return pd.read_csv(folder / "interactions.csv.gz", dtype={"event_date": str})


def items(folder: Path) -> list[dict]:
    with gzip.open(folder / "items.jsonl.gz", "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def test_shape_is_that_of_the_public_sets(folder: Path) -> None:
    events = interactions(folder)
    assert list(events.columns) == ["user_id", "item_id", "position", "event_date", "date_imputed"]
    assert events.user_id.nunique() == 300
    assert events.user_id.str.fullmatch("A[0-9A-Z]{12}").all()
    assert set(events.date_imputed) <= {0, 1}
    for row in items(folder):
        assert list(row) == ["item_id", "title", "brand", "categories", "price", "keyphrases"]
        assert all(isinstance(path, list) for path in row["categories"])
        assert row["price"] is None or row["price"] > 0
        assert row["keyphrases"]


def test_every_user_has_five_items_and_every_item_occurs(folder: Path) -> None:
    events = interactions(folder)
    assert events.groupby("user_id").size().min() >= 5
    assert not events.duplicated(["user_id", "item_id"]).any()
    assert set(events.item_id) == {row["item_id"] for row in items(folder)}


def test_position_and_date_agree(folder: Path) -> None:
    for _, own in interactions(folder).groupby("user_id", sort=False):
        assert own.position.tolist() == list(range(1, len(own) + 1))
        days = [datetime.date.fromisoformat(day) for day in own.event_date]
        assert days == sorted(days)


def test_one_successor_stands_out(folder: Path) -> None:
    following: dict[str, Counter[str]] = defaultdict(Counter)
    for _, own in interactions(folder).groupby("user_id", sort=False):
        for one, two in zip(own.item_id, own.item_id[1:], strict=False):
            following[one][two] += 1
    steps = sum(counts.total() for counts in following.values())
    assert sum(max(counts.values()) for counts in following.values()) / steps > 0.4


def test_same_arguments_same_bytes_and_other_seed_other_bytes(tmp_path: Path) -> None:
    for name, seed in (("one", 1), ("again", 1), ("two", 2)):
        generate_research_set(tmp_path / name, users=20, items=30, seed=seed)
    for file in ("interactions.csv.gz", "items.jsonl.gz"):
        one = (tmp_path / "one" / file).read_bytes()
        assert one == (tmp_path / "again" / file).read_bytes()
        assert one != (tmp_path / "two" / file).read_bytes()


@pytest.mark.parametrize(("users", "items"), [(1, 10), (3, 12), (50, 500)])
def test_extreme_sizes_end(tmp_path: Path, users: int, items: int) -> None:
    generate_research_set(tmp_path, users=users, items=items, seed=0)
    events = interactions(tmp_path)
    assert events.item_id.nunique() == items
    assert events.groupby("user_id").size().min() >= 5


def test_arguments_out_of_range_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="items=9"):
        generate_research_set(tmp_path, users=5, items=9, seed=0)
