"""The demo lake of a group of luxury houses: files to ingest, dirt included, and the truth planted in them."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from isrf_pipeline.demo.articles import MAX_ARTICLES, Catalogue, build_catalogue
from isrf_pipeline.demo.clients import Client, build_clients
from isrf_pipeline.demo.dirt import (
    DirtyRow,
    EventColumns,
    Row,
    count_rules,
    dirty_articles,
    dirty_clients,
    dirty_events,
    iso,
)
from isrf_pipeline.demo.events import Event, build_events
from isrf_pipeline.demo.files import (
    MARKER,
    replaced_folder,
    write_csv,
    write_json,
    write_jsonl,
    write_parquet,
)
from isrf_pipeline.demo.tastes import GROUPS, Group, group_affinity
from isrf_pipeline.demo.vocabulary import THEMES
from isrf_pipeline.errors import UsageError

MIN_ARTICLES = sum(len(theme.kinds) for theme in THEMES)
MIN_CLIENTS = 40

_CLIENT_COLUMNS = (
    "client_ref",
    "first_name",
    "last_name",
    "email",
    "city",
    "country",
    "tier",
    "birth_year",
    "language",
    "email_optin",
)
_PURCHASE_COLUMNS = ("client_ref", "article_code", "sold_at", "qty", "amount")
_VIEW_SCHEMA = pa.schema(
    [
        ("visitor_id", pa.string()),
        ("article_code", pa.string()),
        ("viewed_at", pa.timestamp("ms", tz="UTC")),
        ("device", pa.string()),
    ]
)
_CLIENT_TRUTH = pa.schema(
    [
        ("client_ref", pa.string()),
        ("group", pa.int32()),
        ("group_name", pa.string()),
        ("favourite_houses", pa.list_(pa.string())),
        ("favourite_materials", pa.list_(pa.string())),
        ("personal_theme", pa.string()),
    ]
)
_ARTICLE_TRUTH = pa.schema(
    [
        ("article_code", pa.string()),
        ("theme", pa.string()),
        ("kind", pa.string()),
        ("collection", pa.string()),
        ("groups", pa.list_(pa.int32())),
        ("group_affinity", pa.list_(pa.float64())),
        ("next_article_code", pa.string()),
    ]
)


@dataclass(frozen=True)
class DemoLakeSummary:
    """What was written, by source ("articles", "clients", "purchases", "wishlist", "views").

    Parameters
    ----------
    root
        Folder of the lake.
    rows
        Rows of each file, dirty ones included.
    dirty_rows
        Dirty rows of each file.
    dirt
        Dirty rows of each file by the rule they break; what ``truth/dirt.json`` holds.
    """

    root: Path
    rows: dict[str, int]
    dirty_rows: dict[str, int]
    dirt: dict[str, dict[str, int]]


def generate_demo_lake(
    root: Path,
    *,
    seed: int = 7,
    articles: int = 300,
    clients: int = 2000,
    run_date: datetime.date = datetime.date(2026, 6, 30),
    groups: int = 8,
) -> DemoLakeSummary:
    """Write the demo lake into `root`, which it replaces as a whole when an earlier demo lake is there.

    The same arguments give the same bytes. In each file the clean rows come first and are complete; dirty
    rows, each breaking one rule, are appended.

    Parameters
    ----------
    root
        Folder to create.
    seed
        Seed of everything random, at least 0.
    articles
        Clean articles, `MIN_ARTICLES` to `MAX_ARTICLES`.
    clients
        Clean clients, at least `MIN_CLIENTS`.
    run_date
        Clean events lie in the 18 months before this day.
    groups
        Taste communities among the clients, 2 to 8.

    Raises
    ------
    UsageError
        When an argument is out of range or `root` holds something else.
    """
    _check("seed", seed, 0, None)
    _check("articles", articles, MIN_ARTICLES, MAX_ARTICLES)
    _check("clients", clients, MIN_CLIENTS, None)
    _check("groups", groups, 2, len(GROUPS))
    # One stream for each part: more clients leave the articles as they were.
    streams = [np.random.default_rng([seed, part]) for part in range(4)]
    chosen = GROUPS[:groups]
    catalogue = build_catalogue(articles, run_date, streams[0])
    people = build_clients(clients, chosen, catalogue, streams[1])
    events = build_events(catalogue, people, chosen, run_date, streams[2])
    with replaced_folder(root) as folder:
        (folder / MARKER).parent.mkdir()
        rows, dirt = _write_sources(folder, catalogue, people, events, run_date, streams[3])
        write_parquet(folder / "truth" / "clients.parquet", _client_truth(people, chosen), _CLIENT_TRUTH)
        write_parquet(
            folder / "truth" / "articles.parquet", _article_truth(catalogue, chosen), _ARTICLE_TRUTH
        )
        write_json(folder / MARKER, dirt)
    dirty_rows = {source: sum(rules.values()) for source, rules in dirt.items()}
    return DemoLakeSummary(root=root, rows=rows, dirty_rows=dirty_rows, dirt=dirt)


def _check(name: str, value: int, low: int, high: int | None) -> None:
    if value < low or (high is not None and value > high):
        bounds = f"at least {low}" if high is None else f"from {low} to {high}"
        raise UsageError(f"{name}={value}", f"a demo lake takes {bounds}", f"give {name} within these bounds")


def _write_sources(
    folder: Path,
    catalogue: Catalogue,
    people: tuple[Client, ...],
    events: Sequence[Event],
    run_date: datetime.date,
    rng: np.random.Generator,
) -> tuple[dict[str, int], dict[str, dict[str, int]]]:
    """Write the five files; return their rows, and their dirty rows by rule."""
    article_rows = [article.row() for article in catalogue.articles]
    client_rows = [client.row() for client in people]
    purchases: list[Row] = []
    wishes: list[Row] = []
    views: list[Row] = []
    for event in events:
        if event.kind == "purchase":
            values = (event.client, event.article, iso(event.at), event.qty, event.amount)
            purchases.append(dict(zip(_PURCHASE_COLUMNS, values, strict=True)))
        elif event.kind == "wishlist":
            wishes.append({"client": event.client, "article": event.article, "added_at": iso(event.at)})
        else:
            moment = (event.client, event.article, event.at, event.device)
            views.append(dict(zip(_VIEW_SCHEMA.names, moment, strict=True)))

    bought = EventColumns("client_ref", "article_code", "sold_at", "amount")
    wished = EventColumns("client", "article", "added_at")
    viewed = EventColumns("visitor_id", "article_code", "viewed_at")
    dirty = {
        "articles": dirty_articles(article_rows, rng),
        "clients": dirty_clients(client_rows, rng),
        "purchases": dirty_events(purchases, bought, run_date, rng),
        "wishlist": dirty_events(wishes, wished, run_date, rng, as_json=True),
        "views": dirty_events(views, viewed, run_date, rng, real_timestamps=True),
    }
    write_jsonl(folder / "articles.jsonl", [*article_rows, *(row.row for row in dirty["articles"])])
    write_csv(folder / "clients.csv", _CLIENT_COLUMNS, client_rows + _mappings(dirty["clients"]))
    write_csv(folder / "purchases.csv", _PURCHASE_COLUMNS, purchases + _mappings(dirty["purchases"]))
    write_jsonl(folder / "wishlist.jsonl", [*wishes, *(row.row for row in dirty["wishlist"])])
    write_parquet(folder / "views.parquet", views + _mappings(dirty["views"]), _VIEW_SCHEMA)
    clean = {
        "articles": len(article_rows),
        "clients": len(client_rows),
        "purchases": len(purchases),
        "wishlist": len(wishes),
        "views": len(views),
    }
    rows = {source: count + len(dirty[source]) for source, count in clean.items()}
    return rows, {source: count_rules(broken) for source, broken in dirty.items()}


def _mappings(dirty: Sequence[DirtyRow]) -> list[Row]:
    return [row.row for row in dirty if not isinstance(row.row, bytes)]


def _client_truth(people: tuple[Client, ...], groups: tuple[Group, ...]) -> list[Row]:
    return [
        {
            "client_ref": client.ref,
            "group": client.group,
            "group_name": groups[client.group].name,
            "favourite_houses": list(client.favourite_houses),
            "favourite_materials": list(client.favourite_materials),
            "personal_theme": client.personal_theme,
        }
        for client in people
    ]


def _article_truth(catalogue: Catalogue, groups: tuple[Group, ...]) -> list[Row]:
    affinity = group_affinity(catalogue, groups)
    rows: list[Row] = []
    for number, article in enumerate(catalogue.articles):
        successor = int(catalogue.successors[number])
        rows.append(
            {
                "article_code": article.code,
                "theme": article.theme,
                "kind": article.kind,
                "collection": article.collection,
                "groups": np.flatnonzero(affinity[number]).tolist(),
                "group_affinity": affinity[number].tolist(),
                "next_article_code": catalogue.articles[successor].code if successor >= 0 else None,
            }
        )
    return rows
