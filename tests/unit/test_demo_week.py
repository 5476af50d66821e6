"""The sources of a week of nights: each holds what was known then, and what the week's story wants."""

from __future__ import annotations

import csv
import json
import subprocess
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from isrf_pipeline.cli.demo_week import nights_done, run_week
from isrf_pipeline.demo.generate import generate_demo_lake
from isrf_pipeline.demo.week import LAST_NIGHT, Sources, Week, write_night
from isrf_pipeline.errors import IsrfError

WEEK = Week()


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("week") / "whole"
    generate_demo_lake(folder, clients=400)
    return folder


@pytest.fixture(scope="module")
def sources(whole: Path) -> Sources:
    return Sources.read(whole, WEEK)


@pytest.fixture(scope="module")
def nights(sources: Sources, tmp_path_factory: pytest.TempPathFactory) -> dict[int, dict[str, Any]]:
    """What the files of each night say."""
    found = {}
    for night in range(1, WEEK.nights + 1):
        folder = tmp_path_factory.mktemp(f"night{night}")
        write_night(sources, WEEK, night, folder)
        found[night] = {
            "articles": articles(folder / "articles.jsonl"),
            "clients": rows(folder / "clients.csv"),
            "purchases": rows(folder / "purchases.csv"),
            "views": pq.read_table(folder / "views.parquet").to_pylist(),
            "bytes": {path.name: path.read_bytes() for path in folder.iterdir()},
        }
    return found


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def articles(path: Path) -> dict[str, dict[str, Any]]:
    found = {}
    for line in path.read_bytes().splitlines():
        try:
            row = json.loads(line)
        except ValueError:
            continue
        if row.get("article_code"):
            found.setdefault(row["article_code"], row)
    return found


def test_a_night_knows_nothing_of_later_days(nights: dict[int, dict[str, Any]]) -> None:
    for night, files in nights.items():
        date = WEEK.date_of(night).isoformat()
        days = [row["sold_at"][:10] for row in files["purchases"] if row["sold_at"][:4].isdigit()]
        days += [str(row["viewed_at"])[:10] for row in files["views"]]
        assert max(days) <= date
    assert WEEK.date_of(WEEK.nights) == LAST_NIGHT


def test_clients_and_articles_come_and_stay(sources: Sources, nights: dict[int, dict[str, Any]]) -> None:
    for kind, name in (("clients", "client_ref"), ("articles", "article_code")):
        before: set[str] = set()
        for night, files in nights.items():
            listed = files[kind] if kind == "clients" else files[kind].values()
            here = {row[name] for row in listed}
            assert before <= here
            assert not {other for other, arrival in sources.arrivals.items() if arrival > night} & here
            before = here
    assert len(nights[7]["articles"]) > len(nights[1]["articles"])


def test_nobody_buys_before_he_came(sources: Sources, nights: dict[int, dict[str, Any]]) -> None:
    late = {name for name, arrival in sources.arrivals.items() if arrival > 1}
    assert late
    first = {value for row in nights[1]["purchases"] for value in (row["client_ref"], row["article_code"])}
    assert not late & first


def test_one_article_is_sold_out_and_one_is_dearer(
    sources: Sources, nights: dict[int, dict[str, Any]]
) -> None:
    gone, dearer = sources.best_seller(0), sources.best_seller(1)
    assert [nights[night]["articles"][gone]["in_stock"] for night in (1, 2, 7)] == [True, False, False]
    prices = [nights[night]["articles"][dearer]["retail_price"] for night in (2, 3, 7)]
    assert prices[1] == prices[2] == pytest.approx(prices[0] * 1.15, abs=0.01)


def test_a_week_goes_on_where_it_stopped_and_another_one_begins_anew(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    codes, ran = [0, 0, 3], []

    def answer(command: list[str], check: bool) -> subprocess.CompletedProcess[str]:
        ran.append(command[command.index("--run-date") + 1])
        return subprocess.CompletedProcess(command, codes.pop(0) if codes else 0)

    monkeypatch.setattr(subprocess, "run", answer)
    calm = Week(nights=3, erased=9, poisoned=9, killed=9)
    with pytest.raises(IsrfError, match="2026-06-28: ended with exit code 3 and not 0"):
        run_week(whole, tmp_path, Path("f.yaml"), [], calm, "one")
    assert nights_done(tmp_path, "one") == 2
    ran.clear()
    run_week(whole, tmp_path, Path("f.yaml"), [], calm, "one")
    assert ran == ["2026-06-28"]
    ran.clear()
    run_week(whole, tmp_path, Path("f.yaml"), [], calm, "another")
    assert ran == ["2026-06-26", "2026-06-27", "2026-06-28"]


def test_the_poisoned_views_are_in_one_night_only(nights: dict[int, dict[str, Any]]) -> None:
    poisoned = {
        night: sum(
            row["visitor_id"] is not None and row["visitor_id"].startswith("BOT") for row in files["views"]
        )
        for night, files in nights.items()
    }
    files = nights[WEEK.poisoned]
    pushed = {row["article_code"] for row in files["views"] if (row["visitor_id"] or "").startswith("BOT")}
    assert len(pushed) == 12 and pushed <= files["articles"].keys()
    # Ingest accepts them: the catalogue's broken rows are of articles that nobody has bought.
    assert pushed <= {row["article_code"] for row in files["purchases"]}
    assert poisoned.pop(WEEK.poisoned) == 9000
    assert set(poisoned.values()) == {0}


def test_the_same_seed_gives_the_same_bytes(
    whole: Path, nights: dict[int, dict[str, Any]], tmp_path: Path
) -> None:
    write_night(Sources.read(whole, WEEK), WEEK, 4, tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == nights[4]["bytes"]


def test_who_is_erased_is_there_from_the_beginning(
    sources: Sources, nights: dict[int, dict[str, Any]]
) -> None:
    client = sources.faithful_client()
    assert client in {row["client_ref"] for row in nights[1]["purchases"]}
