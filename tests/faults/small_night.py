"""A lake of some dozens of rows and its settings: two nights of it, all ten stages, in seconds each.

Imported by the tests and by the programs that they start and kill.
"""

from __future__ import annotations

import contextlib
import datetime
import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest import mock

import yaml

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

#: The night that consumers have, and the one in which things go wrong.
BEFORE, NIGHT = datetime.date(2026, 6, 29), datetime.date(2026, 6, 30)
CLIENTS, ITEMS, EVENTS_EACH = 24, 30, 6


def _lines(file: Path, rows: list[dict[str, Any]]) -> str:
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return str(file)


def write_sources(folder: Path) -> dict[str, Any]:
    """Catalogue, clients and orders up to the second night, and the settings of ingest that read them."""
    folder.mkdir(parents=True)
    items = [
        {
            "item_id": f"i{n:02}",
            "title": f"Title {n}",
            "brand": f"b{n % 3}",
            "categories": [f"c{n % 4}"],
            "price": 10.0 + n,
        }
        for n in range(ITEMS)
    ]
    clients = [{"user_id": f"u{n:02}", "consent": "yes", "city": f"city {n % 2}"} for n in range(CLIENTS)]
    # Every client likes one category; the last two days differ from night to night.
    events = [
        {
            "user_id": f"u{user:02}",
            "item_id": f"i{(user % 4 + 4 * (user + step * (1 + user % 3))) % ITEMS:02}",
            "ts": str(NIGHT - datetime.timedelta(days=EVENTS_EACH - 1 - step)),
        }
        for user in range(CLIENTS)
        for step in range(EVENTS_EACH)
    ]
    # One row lies in quarantine.
    events.append({"user_id": "u00", "item_id": "", "ts": str(BEFORE)})
    source = {"format": "jsonl"}
    return {
        "as_of_night": True,
        "items": {
            **source,
            "path": _lines(folder / "items.jsonl", items),
            "columns": {"brand": "brand", "categories": "categories", "price": "price"},
        },
        "clients": {
            **source,
            "path": _lines(folder / "clients.jsonl", clients),
            "columns": {"consent": "consent", "attributes": ["city"]},
        },
        "interactions": [
            {
                **source,
                "name": "orders",
                "path": _lines(folder / "orders.jsonl", events),
                "event_type": "purchase",
            }
        ],
        "max_quarantine_share": 0.5,
    }


def write_settings(file: Path, lake_root: Path, ingest: dict[str, Any]) -> Path:
    """Settings of a night as small as it can be with all of its stages; those of Spark are the tests' own."""
    settings = {
        "environment": "test",
        "lake": {"root": str(lake_root)},
        "spark": {
            "master": "local[2]",
            "driver_memory": "1g",
            "shuffle_partitions": 2,
            "conf": {
                "spark.default.parallelism": "2",
                "spark.sql.adaptive.enabled": "false",
                "spark.databricks.delta.snapshotPartitions": "1",
                "spark.local.dir": str(file.parent / "spark"),
                "spark.sql.codegen.wholeStage": "false",
                "spark.sql.codegen.factoryMode": "NO_CODEGEN",
                # A process that lives for seconds: the optimizing compiler would not earn what it costs.
                "spark.driver.extraJavaOptions": "-XX:+UseSerialGC -XX:TieredStopAtLevel=1",
            },
        },
        "ingest": ingest,
        "reasoning": {"backend": "none"},
        "embedding": {"cache": False},
        "user_graph": {"neighbours": 5, "segments": False},
        "optimize": {
            "rounds": 2,
            "patience": 1,
            "scorers": ["followed", "semantic", "group"],
            "history_decays": [0.7],
            "implicit_weights": [0.4],
            "semantic_weights": [0.1],
            "alignment": {"enabled": False},
        },
        "ranker": {"enabled": False},
        "recommend": {"top_n": 5, "candidates": 20},
        "evaluation": {"peers": []},
        "export": {"profiles": ["crm_csv"], "bi": ["delta"]},
        "gates": {"max_data_age_days": 3, "max_score_drift": None, "max_item_drift": None},
    }
    file.write_text(yaml.safe_dump(settings), encoding="utf-8")
    return file


def word_vectors(texts: DataFrame, settings: object, encoders: int) -> DataFrame:
    """Vectors from hashes of a text, in place of the encoder, which takes longer to load than all of the night."""
    from pyspark.sql import functions as F

    places = F.sequence(F.lit(1), F.lit(16))
    raw = F.transform(places, lambda place: F.pmod(F.xxhash64("text", place), F.lit(2001)) / 1000.0 - 1.0)
    length = F.sqrt(F.aggregate(raw, F.lit(0.0), lambda total, value: total + value * value))
    return texts.select(
        "text_hash", F.transform(raw, lambda v: (v / length).cast("float")).alias("embedding")
    )


@contextlib.contextmanager
def without_encoder() -> Iterator[None]:
    """Let the body's nights take :func:`word_vectors`."""
    from isrf_pipeline.embedding import encoder

    with mock.patch.object(encoder, "_encoded", word_vectors):
        yield


def nightly(settings_file: Path, night: datetime.date, *options: str) -> int:
    """Run a night as the command line does and return its exit code."""
    from isrf_pipeline.cli.main import main

    with without_encoder():
        return main(["nightly", "--conf-file", str(settings_file), "--run-date", str(night), *options])
