"""Ids, titles and rows made to break out of wherever they are put: a whole night keeps them apart and inside.

One night on a lake of some dozens of rows. Ids hold SQL, paths, markup, direction marks and prefixes of ours; what is
refused lies in quarantine with its rule, and everything else comes out as it went in.
"""

from __future__ import annotations

import csv
import datetime
import json
import re
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from pyarrow import parquet

from isrf_pipeline.cli.explain import explanation
from isrf_pipeline.config import Settings
from isrf_pipeline.embedding import encoder
from isrf_pipeline.lake import Lake, Table, tables
from isrf_pipeline.run.terminal import visible
from isrf_pipeline.stages.context import StageContext
from isrf_pipeline.stages.registry import load_stage

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

pytestmark = [pytest.mark.spark, pytest.mark.faults]

NIGHT = datetime.date(2026, 3, 9)
#: Accepted, each as a client and as an item of its own; blanks inside and every unseen character count.
KEPT_IDS = (
    "x' OR '1'='1",
    "x'; DROP TABLE clients; --",
    'a"b',
    "a`b",
    "a\\b",
    "../../etc/passwd",
    "a/b",
    "..",
    "u:1",
    "i:1",
    "1",
    "Case",
    "case",
    "CASE",
    "zero",
    "ze\u200bro",
    "ze\u200dro",
    "\ufeffzero",
    "\u202ezero",
    "zero\u200f",
    "é",
    "e\u0301",
    "<script>alert(1)</script>",
    "{{7*7}}",
    "=1+1",
    "'=1+1",
    "''=1+1",
    "null",
    "NaN",
    "0",
    "00",
    "a  b",
    "a b",
    "\U0001f45c",
)
REFUSED_IDS = {
    "nul\x00": "wrong_encoding",
    "escape\x1b[31m": "wrong_encoding",
    "two\nlines": "line_end_in_id",
    "tab\tinside": "line_end_in_id",
    "line\u2028separator": "line_end_in_id",
    "long" * 50_000: "overlong_id",
    " \t\u00a0": "missing_id",
}
TITLES = (
    "<script>alert('title')</script>",
    "</title></style><img src=x onerror=alert(1)>",
    "{{7*7}} {% raw %} ${7*7}",
    '=HYPERLINK("http://evil.example","click")',
    "+1+1",
    "@SUM(A1)",
    'two\r\nlines, "quoted"',
    "\u202egnp.exe",
    "&lt;b&gt; &amp;",
    "'; DROP TABLE items; --",
)
#: Names that would be one if the parts of a path, or the kinds of names, were merely put together.
CATEGORIES = (["t:a"], ["h:a"], ["c:a"], ["a"], ["a > b"], ["a", "b"], ["A"], ["<i>a</i>"])


EVENTS_EACH = 5


def word_vectors(texts: DataFrame, settings: object, encoders: int) -> DataFrame:
    """Vectors from hashes of a text, in place of the encoder, which takes longer to load than all of the night."""
    from pyspark.sql import functions as F

    places = F.sequence(F.lit(1), F.lit(16))
    raw = F.transform(places, lambda place: F.pmod(F.xxhash64("text", place), F.lit(2001)) / 1000.0 - 1.0)
    length = F.sqrt(F.aggregate(raw, F.lit(0.0), lambda total, value: total + value * value))
    return texts.select(
        "text_hash", F.transform(raw, lambda v: (v / length).cast("float")).alias("embedding")
    )


def write_lines(file: Path, rows: list[dict[str, Any]]) -> str:
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return str(file)


#: Those that hand on what they are given; evaluate writes figures alone, and segments are named in test_segments.
STAGES = (
    "ingest",
    "reason_items",
    "build_interaction_graph",
    "reason_users",
    "build_user_graph",
    "optimize",
    "recommend",
    "evaluate",
    "export",
)
#: Rows of these lie in quarantine for what they say beside their id.
REFUSED_ITEMS = {
    "huge-row": ("overlong_row", {"description": "d" * 10_000_000}),
    "huge-brand": ("overlong_text", {"brand": "b" * 100_000}),
    "huge-category": ("overlong_text", {"categories": ["c" * 5_000]}),
}
REFUSED_CLIENTS = {
    "huge-row": ("overlong_row", {"city": "c" * 2_000_000}),
    "huge-city": ("overlong_text", {"city": "c" * 100_000}),
}


def write_sources(folder: Path) -> dict[str, Any]:
    """Three files of JSON lines and the settings that read them."""
    folder.mkdir(parents=True)
    items: list[dict[str, Any]] = [
        {
            "item_id": name,
            "title": TITLES[n % len(TITLES)],
            "brand": f"b{n % 3}",
            "categories": CATEGORIES[n % 8],
        }
        for n, name in enumerate(KEPT_IDS)
    ]
    items += [{"item_id": name, "title": "refused"} for name in REFUSED_IDS]
    items += [{"item_id": name, "title": "t", **more} for name, (_, more) in REFUSED_ITEMS.items()]
    items += [{"item_id": "padded ", "title": "kept"}, {"item_id": "padded", "title": "the same item again"}]
    clients: list[dict[str, Any]] = [
        {"user_id": name, "consent": "yes", "city": TITLES[0]} for name in (*KEPT_IDS, *REFUSED_IDS)
    ]
    clients += [{"user_id": name, "consent": "yes", **more} for name, (_, more) in REFUSED_CLIENTS.items()]
    events = [
        {
            "user_id": user,
            "item_id": KEPT_IDS[(place * 5 + step * 7) % len(KEPT_IDS)],
            "ts": f"2026-02-0{step + 1}",
        }
        for place, user in enumerate(KEPT_IDS)
        for step in range(EVENTS_EACH)
    ]
    events += [{"user_id": name, "item_id": "1", "ts": "2026-02-01"} for name in REFUSED_IDS]
    events += [{"user_id": "1", "item_id": name, "ts": "2026-02-01"} for name in REFUSED_IDS]
    source = {"format": "jsonl"}
    return {
        "items": {
            **source,
            "path": write_lines(folder / "items.jsonl", items),
            "columns": {"brand": "brand", "categories": "categories", "description": "description"},
        },
        "clients": {
            **source,
            "path": write_lines(folder / "clients.jsonl", clients),
            "columns": {"consent": "consent", "attributes": ["city"]},
        },
        "interactions": [
            {
                **source,
                "name": "orders",
                "path": write_lines(folder / "orders.jsonl", events),
                "event_type": "purchase",
            }
        ],
        "max_quarantine_share": 0.5,
    }


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("hostile")


@pytest.fixture(scope="module")
def lake(spark: SparkSession, root: Path) -> Lake:
    """The lake after the night."""
    settings = Settings.model_validate(
        {
            "lake": {"root": str(root / "lake")},
            "ingest": write_sources(root / "sources"),
            "reasoning": {"backend": "none"},
            "embedding": {"cache": False},
            "user_graph": {"neighbours": 5, "segments": False},
            "optimize": {
                "patience": 1,
                "scorers": ["followed", "semantic", "group"],
                "history_decays": [0.7],
                "implicit_weights": [0.4],
                "semantic_weights": [0.1],
                "alignment": {"enabled": False},
            },
            "ranker": {"enabled": False},
            "recommend": {"top_n": 5, "candidates": 20},
        }
    )
    lake = Lake(spark, settings.lake)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(encoder, "_encoded", word_vectors)
        for name in STAGES:
            load_stage(name).run(StageContext(spark, settings, lake, NIGHT, "run"))
            spark.catalog.clearCache()
    return lake


@pytest.fixture(scope="module")
def exported(lake: Lake, root: Path) -> Path:
    return root / "lake" / "exports" / NIGHT.isoformat()


def values(lake: Lake, table: Table, column: str) -> list[str]:
    return [row[0] for row in lake.read(table).select(column).collect()]


def test_nothing_merges_and_nothing_is_lost(lake: Lake) -> None:
    assert sorted(values(lake, tables.CLIENTS, "user_id")) == sorted(KEPT_IDS)
    assert sorted(values(lake, tables.ITEMS, "item_id")) == sorted([*KEPT_IDS, "padded"])
    events = Counter(values(lake, tables.INTERACTIONS, "user_id"))
    assert events == dict.fromkeys(KEPT_IDS, EVENTS_EACH)
    assert set(values(lake, tables.RECOMMENDATIONS, "user_id")) == set(KEPT_IDS)


def test_vertices_of_different_kinds_and_paths_stay_apart(lake: Lake) -> None:
    vertices = lake.read(tables.VERTICES).select("id", "kind").collect()
    assert len({row["id"] for row in vertices}) == len(vertices)
    ids = {
        kind: {row["id"] for row in vertices if row["kind"] == kind} for kind in ("user", "item", "category")
    }
    assert ids["user"] == {f"u:{name}" for name in KEPT_IDS}
    assert ids["item"] == {f"i:{name}" for name in (*KEPT_IDS, "padded")}
    assert ids["category"] == {
        "c:t:a", "c:h:a", "c:c:a", "c:a", "c:a >> b", "c:a > b", "c:A", "c:<i>a</i>",
    }  # fmt: skip


def test_what_is_refused_lies_in_quarantine_with_its_rule(lake: Lake) -> None:
    rows = lake.read(tables.QUARANTINE).select("source", "rule", "raw").collect()
    found = Counter((row["source"], row["rule"]) for row in rows)
    refused = Counter(REFUSED_IDS.values())
    expected = Counter({("orders", rule): 2 * count for rule, count in refused.items()})
    for source, more in (("items", REFUSED_ITEMS), ("clients", REFUSED_CLIENTS)):
        expected += Counter({(source, rule): count for rule, count in refused.items()})
        expected += Counter((source, rule) for rule, _ in more.values())
    assert found == expected + Counter({("items", "duplicate"): 1})
    (huge,) = [row["raw"] for row in rows if (row["source"], row["rule"]) == ("items", "overlong_row")]
    assert huge.startswith('{"item_id": "huge-row"') and len(huge) < 1200
    assert re.search(r"… \(10000\d\d\d characters, SHA-256 [0-9a-f]{64}\)$", huge)


def test_no_file_lies_where_an_id_points_to(lake: Lake, root: Path) -> None:
    assert {path.name for path in root.iterdir()} == {"lake", "sources"}
    schemas = {"silver", "reasoning", "graph", "interests", "pending", "gold", "ops", "bi"}
    assert {path.name for path in (root / "lake").iterdir()} == {*schemas, "exports"}
    for schema in schemas:
        there = {f"{schema}.{path.name}" for path in (root / "lake" / schema).iterdir()}
        assert there <= {*tables.ALL_TABLES, *tables.WAITING}


def test_cells_of_the_crm_file_stay_on_their_line_and_execute_nothing(exported: Path) -> None:
    content = (exported / "crm_recommendations.csv").read_bytes()
    rows = list(csv.reader(content.decode("utf-8").splitlines(keepends=True), strict=True))
    assert content.count(b"\n") == len(rows) == len(KEPT_IDS) + 1
    for cell in (cell for row in rows for cell in row):
        assert not re.match(r"\s*[=+\-@]", cell)
    # An apostrophe in front of what may be a formula is ours; without it the identifiers are those of the source.
    ids = [re.sub(r"^'(?='*[=+\-@])", "", row[0]) for row in rows[1:]]
    assert sorted(ids) == sorted(KEPT_IDS)
    assert len({row[0] for row in rows}) == len(rows)


def test_the_bi_folder_holds_every_id_as_it_came(exported: Path) -> None:
    facts, clients, items = (
        parquet.read_table(exported / "bi" / name).to_pylist()
        for name in ("fact_recommendation", "dim_client", "dim_item")
    )
    users = {row["client_key"]: row["user_id"] for row in clients}
    articles = {row["item_key"]: row["item_id"] for row in items}
    assert sorted(users.values()) == sorted(KEPT_IDS)
    assert {users[row["client_key"]] for row in facts} == set(KEPT_IDS)
    assert {articles[row["item_key"]] for row in facts} <= {*KEPT_IDS, "padded"}
    assert len({(row["client_key"], row["rank"]) for row in facts}) == len(facts)


class Elements(HTMLParser):
    """Elements, attributes and text of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.elements: set[str] = set()
        self.attributes: set[str] = set()
        #: Each piece of text with the element that it stands in.
        self.text: list[tuple[str, str]] = []
        self._element = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.add(tag)
        self.attributes |= {name for name, _ in attrs}
        self._element = tag

    def handle_data(self, data: str) -> None:
        self.text.append((self._element, data))


def test_the_report_has_no_element_and_no_template_of_the_catalogue(exported: Path) -> None:
    page = Elements()
    page.feed((exported / "report.html").read_text(encoding="utf-8"))
    assert not page.elements & {"script", "img", "iframe", "object", "i", "base", "form"}
    assert not {name for name in page.attributes if name.startswith("on")}
    texts = [text for _, text in page.text]
    assert any("<script>" in text or "onerror=alert" in text for text in texts)
    assert all("{{7*7}}" in text for text in texts if "{% raw %}" in text)
    # A mark that turns text around ends with the element that isolates it.
    turned = {element for element, text in page.text if re.search("[\u202e\u200f]", text)}
    assert turned <= {"bdi"}


@pytest.mark.parametrize("user", ["x' OR '1'='1", "\u202ezero"])
def test_a_client_is_explained_and_nobody_else(lake: Lake, user: str) -> None:
    lines = explanation(lake, user)
    assert lines[0] == f"client {user}"
    history = lines[lines.index("history, newest first (at most 20 events):") + 2 : lines.index("", 3)]
    assert len(history) == EVENTS_EACH
    assert all(line.isprintable() for line in map(visible, lines))
