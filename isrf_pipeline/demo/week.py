"""A week in the life of the demo lake: the source files of each night, with what happens to a lake that lives.

The files of a night hold what of the whole demo lake was known at its end, less the clients and articles that are still
to come; one article becomes dearer, one is sold out, and one night's views are poisoned. Rows that break a rule stay in
the files as they are, except those from the future.
"""

from __future__ import annotations

import csv
import datetime
import json
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from isrf_pipeline.demo.dirt import Row
from isrf_pipeline.demo.files import write_csv, write_jsonl, write_parquet

#: The clean events of the demo lake end on this day.
LAST_NIGHT = datetime.date(2026, 6, 28)
_PRICE_FACTOR = 1.15
_BOTS, _BOT_VIEWS = 1500, 6
_BOT_ARTICLES = 12


@dataclass(frozen=True)
class Week:
    """What happens in which night, counted from 1.

    Attributes
    ----------
    nights
        How many there are.
    clients_in, articles_in
        Of so many clients, and of so many articles, one is still to come when the week begins.
    sold_out, dearer, erased, poisoned, killed
        The night of each event; one that lies behind the last night does not happen.
    """

    nights: int = 7
    clients_in: int = 80
    articles_in: int = 25
    sold_out: int = 2
    dearer: int = 3
    erased: int = 3
    poisoned: int = 4
    killed: int = 5

    def date_of(self, night: int) -> datetime.date:
        """The run date of a night."""
        return LAST_NIGHT - datetime.timedelta(days=self.nights - night)


@dataclass
class Sources:
    """The whole demo lake's files, read once.

    Attributes
    ----------
    articles, wishes
        Lines of the JSON files as bytes, and what they say; None where a line is no object.
    clients, purchases
        Rows of the CSV files.
    views
        The Parquet file.
    """

    articles: list[tuple[bytes, dict[str, Any] | None]]
    clients: list[dict[str, str]]
    purchases: list[dict[str, str]]
    wishes: list[tuple[bytes, dict[str, Any] | None]]
    views: pa.Table
    arrivals: dict[str, int] = field(default_factory=dict)

    @classmethod
    def read(cls, folder: Path, week: Week) -> Sources:
        """Read ``folder`` and draw who and what is still to come, by the hash of the identifier."""
        found = cls(
            list(_json_lines(folder / "articles.jsonl")),
            list(_csv_rows(folder / "clients.csv")),
            list(_csv_rows(folder / "purchases.csv")),
            list(_json_lines(folder / "wishlist.jsonl")),
            pq.read_table(folder / "views.parquet"),
        )
        names = [(row["client_ref"], week.clients_in) for row in found.clients]
        names += [(row["article_code"], week.articles_in) for row in found.named_articles()]
        for name, one_in in names:
            drawn = zlib.crc32(name.encode())
            if name and drawn % one_in == 0 and week.nights > 1:
                found.arrivals[name] = 2 + drawn // one_in % (week.nights - 1)
        return found

    def named_articles(self) -> list[dict[str, Any]]:
        """Articles with a code and a price."""
        return [row for _, row in self.articles if row is not None and _is_named(row)]

    def best_seller(self, place: int) -> str:
        """The code of the article that stands at ``place`` by number of purchases, 0 being the first."""
        counts: dict[str, int] = {}
        for row in self.purchases:
            counts[row["article_code"]] = counts.get(row["article_code"], 0) + 1
        codes = {row["article_code"] for row in self.named_articles() if row.get("in_stock")}
        known = [code for code in counts if code in codes and code not in self.arrivals]
        return sorted(known, key=lambda code: (-counts[code], code))[place]

    def faithful_client(self) -> str:
        """The client with the most purchases: who is erased must be missed."""
        counts: dict[str, int] = {}
        for row in self.purchases:
            if row["client_ref"] and row["client_ref"] not in self.arrivals:
                counts[row["client_ref"]] = counts.get(row["client_ref"], 0) + 1
        return min(counts, key=lambda client: (-counts[client], client))


def write_night(sources: Sources, week: Week, night: int, folder: Path) -> None:
    """Write the five source files of a night into an existing folder, in place of those of the night before.

    Parameters
    ----------
    sources
        The whole demo lake.
    week
        What happens when.
    night
        From 1.
    folder
        Where the nightly run looks for them.
    """
    date = week.date_of(night)

    def is_here(*names: Any) -> bool:
        return all(sources.arrivals.get(str(name), 0) <= night for name in names)

    def is_known(instant: Any, *names: Any) -> bool:
        return _day(instant) <= date.isoformat() and is_here(*names)

    articles: list[Row | bytes] = []
    sold_out, dearer = sources.best_seller(0), sources.best_seller(1)
    for line, row in sources.articles:
        if row is None or not _is_named(row):
            articles.append(line)
        elif is_known(row.get("launch_date"), row["article_code"]):
            changed = dict(row)
            if night >= week.sold_out and row["article_code"] == sold_out:
                changed["in_stock"] = False
            if night >= week.dearer and row["article_code"] == dearer:
                changed["retail_price"] = round(float(row["retail_price"]) * _PRICE_FACTOR, 2)
            articles.append(changed if changed != row else line)
    write_jsonl(folder / "articles.jsonl", articles)
    write_csv(
        folder / "clients.csv",
        list(sources.clients[0]),
        [dict(row) for row in sources.clients if is_here(row["client_ref"])],
    )
    write_csv(
        folder / "purchases.csv",
        list(sources.purchases[0]),
        [
            dict(row)
            for row in sources.purchases
            if is_known(row["sold_at"], row["client_ref"], row["article_code"])
        ],
    )
    write_jsonl(
        folder / "wishlist.jsonl",
        [
            line
            for line, row in sources.wishes
            if row is None or is_known(row.get("added_at"), row.get("client"), row.get("article"))
        ],
    )
    views = [
        row
        for row in sources.views.to_pylist()
        if is_known(row["viewed_at"], row["visitor_id"], row["article_code"])
    ]
    if night == week.poisoned:
        views += list(_bot_views(sources, date))
    write_parquet(folder / "views.parquet", views, sources.views.schema)


def _bot_views(sources: Sources, date: datetime.date) -> Iterator[Row]:
    """Views of visitors who do not exist, all of the same few articles that hardly anybody buys."""
    counts: dict[str, int] = {}
    for row in sources.purchases:
        if _day(row["sold_at"]) <= date.isoformat():
            counts[row["article_code"]] = counts.get(row["article_code"], 0) + 1
    # Only of articles that somebody has bought: what the catalogue refuses is in no purchase, and views of unknown
    # articles would be quarantined, and the whole feed refused before any gate.
    launched = (row for row in sources.named_articles() if _day(row.get("launch_date")) <= date.isoformat())
    codes = ({str(row["article_code"]) for row in launched} & counts.keys()) - sources.arrivals.keys()
    pushed = sorted(codes, key=lambda code: (counts[code], code))[:_BOT_ARTICLES]
    start = datetime.datetime(date.year, date.month, date.day, tzinfo=datetime.UTC)
    for bot in range(_BOTS):
        for view in range(_BOT_VIEWS):
            yield {
                "visitor_id": f"BOT{bot:05d}",
                "article_code": pushed[(bot + view) % len(pushed)],
                "viewed_at": start + datetime.timedelta(seconds=bot * 40 + view * 5),
                "device": "desktop",
            }


def _day(instant: Any) -> str:
    """Day of an instant as it stands in a file; what is no day sorts before all days and so stays."""
    text = instant.isoformat() if isinstance(instant, datetime.datetime) else str(instant or "")
    return text[:10] if text[:4].isdigit() else ""


def _is_named(row: dict[str, Any] | None) -> bool:
    return (
        row is not None and bool(row.get("article_code")) and isinstance(row.get("retail_price"), int | float)
    )


def _json_lines(path: Path) -> Iterator[tuple[bytes, dict[str, Any] | None]]:
    parse: Callable[[bytes], Any] = json.loads
    for line in path.read_bytes().splitlines(keepends=True):
        try:
            row = parse(line)
        except ValueError:
            row = None
        yield line, row if isinstance(row, dict) else None


def _csv_rows(path: Path) -> Iterator[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        yield from csv.DictReader(file)
