from __future__ import annotations

import csv
import datetime
import hashlib
import json
import re
from collections import Counter
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from isrf_pipeline.demo import DemoLakeSummary, generate_demo_lake
from isrf_pipeline.demo.dirt import MAX_TEXT, RULES
from isrf_pipeline.errors import UsageError

RUN_DATE = datetime.date(2026, 6, 30)
SOURCES = {
    "articles": "articles.jsonl",
    "clients": "clients.csv",
    "purchases": "purchases.csv",
    "wishlist": "wishlist.jsonl",
    "views": "views.parquet",
}
COLUMNS = {  # client, article, moment
    "purchases": ("client_ref", "article_code", "sold_at"),
    "wishlist": ("client", "article", "added_at"),
    "views": ("visitor_id", "article_code", "viewed_at"),
}


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> DemoLakeSummary:
    return generate_demo_lake(tmp_path_factory.mktemp("demo") / "lake", articles=120, clients=400)


def digests(root: Path) -> dict[str, str]:
    files = (path for path in sorted(root.rglob("*")) if path.is_file())
    return {str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def raw_rows(root: Path, source: str) -> list[dict | bytes]:
    """Rows as they lie; a line that is not a JSON object in UTF-8 stays bytes."""
    path = root / SOURCES[source]
    if path.suffix == ".parquet":
        return pq.read_table(path).to_pylist()
    if path.suffix == ".csv":
        with path.open(encoding="utf-8", newline="") as file:
            return list(csv.DictReader(file))
    rows: list[dict | bytes] = []
    for line in path.read_bytes().splitlines():
        try:
            rows.append(json.loads(line.decode()))
        except ValueError:
            rows.append(line)
    return rows


def moment(value: object) -> datetime.datetime | None:
    if isinstance(value, datetime.datetime):
        return value
    try:
        return datetime.datetime.fromisoformat(str(value))
    except ValueError:
        return None


DAMAGE = re.compile("[\ufffd\x00-\x08\x0e-\x1f]|\u00c3[\u0080-\u00bf\u2030]|\u00e2\u20ac")


def broken_rules(root: Path) -> dict[str, list[set[str]]]:
    """Rules that each row breaks, found without any help from the generator."""
    found: dict[str, list[set[str]]] = {}
    catalogue: set[str] = set()
    for source in SOURCES:
        known: set[str] = set()
        found[source] = []
        for row in raw_rows(root, source):
            rules: set[str] = set()
            found[source].append(rules)
            if isinstance(row, bytes):
                try:
                    row.decode()
                    rules.add("malformed_row")
                except UnicodeDecodeError:
                    rules.add("wrong_encoding")
                    json.loads(row.decode("latin-1"))
                continue
            if any(DAMAGE.search(value) for value in row.values() if isinstance(value, str)):
                rules.add("wrong_encoding")
            if source in ("articles", "clients"):
                key = row["article_code" if source == "articles" else "client_ref"]
                identity = str(key)
                ids = [key]
            else:
                client, article, at = COLUMNS[source]
                ids = [row[client], row[article]]
                identity = json.dumps(row, default=str)
                if row[article] and row[article] not in catalogue:
                    rules.add("unknown_item")
                when = moment(row[at])
                if when is None or when.year == 1900:
                    rules.add("impossible_timestamp")
                elif when.date() > RUN_DATE:
                    rules.add("future_timestamp")
            if not all(ids):
                rules.add("missing_id")
            elif identity in known:
                rules.add("duplicate")
            known.add(identity)
            if float(row.get("retail_price") or row.get("amount") or 0) < 0:
                rules.add("negative_price")
            if len(row.get("description") or "") > MAX_TEXT:
                rules.add("overlong_text")
            if source == "articles" and not rules:
                catalogue.add(row["article_code"])
    return found


def test_dirt_is_what_the_truth_says(lake: DemoLakeSummary) -> None:
    found = broken_rules(lake.root)
    counted = {
        source: dict(Counter(rule for rules in rows for rule in rules)) for source, rows in found.items()
    }
    assert counted == lake.dirt
    assert json.loads((lake.root / "truth" / "dirt.json").read_text()) == lake.dirt
    assert {source: len(rows) for source, rows in found.items()} == lake.rows
    assert {rule for rules in lake.dirt.values() for rule in rules} == set(RULES)


def test_each_dirty_row_breaks_one_rule_and_stands_at_the_end(lake: DemoLakeSummary) -> None:
    for source, rows in broken_rules(lake.root).items():
        clean = lake.rows[source] - lake.dirty_rows[source]
        assert all(not rules for rules in rows[:clean]), source
        assert all(len(rules) == 1 for rules in rows[clean:]), source


def test_truth_is_complete(lake: DemoLakeSummary) -> None:
    clients = pq.read_table(lake.root / "truth" / "clients.parquet").to_pylist()
    articles = pq.read_table(lake.root / "truth" / "articles.parquet").to_pylist()
    rows = {source: raw_rows(lake.root, source) for source in ("clients", "articles")}
    assert [c["client_ref"] for c in clients] == [row["client_ref"] for row in rows["clients"][:400]]
    assert [a["article_code"] for a in articles] == [row["article_code"] for row in rows["articles"][:120]]
    assert {c["group"] for c in clients} == set(range(8))
    assert len({(c["group"], c["group_name"]) for c in clients}) == 8
    assert all(c["favourite_houses"] and c["favourite_materials"] for c in clients)
    codes = {a["article_code"] for a in articles}
    for article in articles:
        assert len(article["group_affinity"]) == 8
        assert article["groups"] == [g for g, weight in enumerate(article["group_affinity"]) if weight > 0]
        assert article["next_article_code"] in codes | {None}


def test_same_arguments_give_the_same_bytes(tmp_path: Path) -> None:
    for name in ("one", "two"):
        generate_demo_lake(tmp_path / name, seed=3, articles=60, clients=80)
    assert digests(tmp_path / "one") == digests(tmp_path / "two")


def test_another_seed_gives_other_files(tmp_path: Path) -> None:
    for seed in (3, 4):
        generate_demo_lake(tmp_path / str(seed), seed=seed, articles=60, clients=80)
    one, two = digests(tmp_path / "3"), digests(tmp_path / "4")
    assert one.keys() == two.keys()
    same = {name for name in one if one[name] == two[name]}
    assert same <= {str(Path("truth") / "dirt.json")}


def test_more_clients_leave_the_articles_as_they_were(tmp_path: Path) -> None:
    for clients in (60, 90):
        generate_demo_lake(tmp_path / str(clients), articles=60, clients=clients)
    lines = [(tmp_path / str(n) / "articles.jsonl").read_bytes().splitlines()[:60] for n in (60, 90)]
    assert lines[0] == lines[1]


def test_counts_of_the_default_lake(tmp_path: Path) -> None:
    summary = generate_demo_lake(tmp_path / "lake")
    clean = {source: summary.rows[source] - summary.dirty_rows[source] for source in summary.rows}
    assert clean["articles"] == 300
    assert clean["clients"] == 2000
    events = clean["purchases"] + clean["wishlist"] + clean["views"]
    assert 14 < events / 2000 < 18
    assert clean["purchases"] / events == pytest.approx(0.35, abs=0.02)
    assert clean["wishlist"] / events == pytest.approx(0.20, abs=0.02)
    assert clean["views"] / events == pytest.approx(0.45, abs=0.02)
    for source in ("clients", "purchases", "wishlist", "views"):
        assert summary.dirty_rows[source] <= 0.01 * summary.rows[source]


def test_events_lie_in_the_eighteen_months_before_and_after_launch(lake: DemoLakeSummary) -> None:
    articles = raw_rows(lake.root, "articles")[:120]
    launched = {row["article_code"]: row["launch_date"] for row in articles}
    per_client: Counter[str] = Counter()
    for source, (client, article, at) in COLUMNS.items():
        clean = lake.rows[source] - lake.dirty_rows[source]
        for row in raw_rows(lake.root, source)[:clean]:
            day = moment(row[at]).date()
            assert datetime.timedelta(0) < RUN_DATE - day <= datetime.timedelta(days=548)
            assert launched[row[article]] <= day.isoformat()
            per_client[row[client]] += 1
    assert max(per_client.values()) <= 25
    assert len(per_client) < 400, "some clients have no event"
    assert sum(count <= 2 for count in per_client.values()) >= 20, "some clients are cold"


def test_an_earlier_lake_is_replaced_and_nothing_is_left_beside_it(tmp_path: Path) -> None:
    root = tmp_path / "lake"
    generate_demo_lake(root, articles=60, clients=60)
    before = digests(root)
    (root / "stale.txt").write_text("left over")
    generate_demo_lake(root, articles=60, clients=60)
    assert digests(root) == before
    assert [path.name for path in tmp_path.iterdir()] == ["lake"]


def test_a_failure_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr("isrf_pipeline.demo.generate.write_parquet", fail)
    with pytest.raises(OSError, match="disk full"):
        generate_demo_lake(tmp_path / "lake", articles=60, clients=60)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_with_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("ten years of work")
    with pytest.raises(UsageError, match="holds no demo lake"):
        generate_demo_lake(tmp_path, articles=60, clients=60)
    assert (tmp_path / "thesis.txt").exists()


@pytest.mark.parametrize(
    "argument", [{"articles": 5}, {"clients": 3}, {"groups": 1}, {"groups": 9}, {"seed": -1}]
)
def test_arguments_out_of_range_are_refused(tmp_path: Path, argument: dict[str, int]) -> None:
    with pytest.raises(UsageError, match=next(iter(argument))):
        generate_demo_lake(tmp_path / "lake", **argument)
