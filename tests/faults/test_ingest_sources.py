"""Sources that are missing, empty, broken or too dirty: one clear line, exit code 3, nothing changed."""

from __future__ import annotations

import datetime
import gzip
import json
import random
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from isrf_pipeline.config import Settings
from isrf_pipeline.errors import ConfigurationError, InputRefusedError
from isrf_pipeline.lake import Lake, tables
from isrf_pipeline.stages.context import StageContext
from isrf_pipeline.stages.ingest import STAGE

if TYPE_CHECKING:
    from collections.abc import Callable

    from pyspark.sql import SparkSession

pytestmark = [pytest.mark.spark, pytest.mark.faults]


def _write_lake(folder: Path) -> dict[str, Any]:
    """Three small clean sources and the ingest settings that read them."""
    items = [{"item_id": f"i{number}", "title": f"Title {number}"} for number in range(20)]
    (folder / "items.jsonl").write_text("".join(json.dumps(item) + "\n" for item in items), encoding="utf-8")
    events = "".join(f"u{number % 5},i{number},2024-01-{number + 1:02d},10.0\n" for number in range(20))
    (folder / "purchases.csv").write_text("user_id,item_id,ts,amount\n" + events, encoding="utf-8")
    clients = "".join(f"u{number},FR,yes\n" for number in range(5))
    (folder / "clients.csv").write_text("user_id,country,consent\n" + clients, encoding="utf-8")
    return {
        "items": {"path": str(folder / "items.jsonl"), "format": "jsonl"},
        "clients": {
            "path": str(folder / "clients.csv"),
            "format": "csv",
            "columns": {"consent": "consent", "attributes": ["country"]},
        },
        "interactions": [
            {
                "name": "purchases",
                "path": str(folder / "purchases.csv"),
                "format": "csv",
                "event_type": "purchase",
                "amount_column": "amount",
            }
        ],
    }


def _context(spark: SparkSession, folder: Path, ingest: dict[str, Any]) -> StageContext:
    settings = Settings.model_validate({"lake": {"root": str(folder / "lake")}, "ingest": ingest})
    return StageContext(spark, settings, Lake(spark, settings.lake), datetime.date(2024, 6, 30), "run-1")


def _missing_file(folder: Path, ingest: dict[str, Any]) -> str:
    ingest["items"]["path"] = str(folder / "item.jsonl")
    return r"source 'items' .*does not exist; did you mean .*/items\.jsonl"


def _missing_column(folder: Path, ingest: dict[str, Any]) -> str:
    ingest["interactions"][0]["columns"] = {"user_id": "userid"}
    return r"source 'purchases' .*no column 'userid'; did you mean 'user_id'"


def _missing_key(folder: Path, ingest: dict[str, Any]) -> str:
    ingest["items"]["columns"] = {"title": "titel"}
    return r"source 'items' .*no column 'titel'; did you mean 'title'"


def _header_only(folder: Path, ingest: dict[str, Any]) -> str:
    (folder / "clients.csv").write_text("user_id,country,consent\n", encoding="utf-8")
    return r"source 'clients' .*has no rows"


def _no_bytes(folder: Path, ingest: dict[str, Any]) -> str:
    (folder / "purchases.csv").write_bytes(b"")
    return r"source 'purchases' .*has no rows"


def _blank_lines(folder: Path, ingest: dict[str, Any]) -> str:
    (folder / "items.jsonl").write_bytes(b"\n  \n")
    return r"source 'items' .*has no rows"


def _no_object(folder: Path, ingest: dict[str, Any]) -> str:
    (folder / "items.jsonl").write_bytes(b"item_id,title\n1,a\n")
    return r"source 'items' .*no line that is a JSON object"


def _not_parquet(folder: Path, ingest: dict[str, Any]) -> str:
    ingest["items"]["format"] = "parquet"
    return r"source 'items' .*cannot be read as parquet"


def _cut_gzip(folder: Path, ingest: dict[str, Any]) -> str:
    chance = random.Random(1)
    noise = "".join(
        json.dumps({"item_id": f"i{number}", "title": str(chance.random())}) + "\n"
        for number in range(20_000)
    )
    packed = gzip.compress(noise.encode())
    (folder / "items.jsonl.gz").write_bytes(packed[: len(packed) // 2])
    ingest["items"]["path"] = str(folder / "items.jsonl.gz")
    return r"source 'items' .*cannot be read as jsonl"


def _other_header(folder: Path, ingest: dict[str, Any]) -> str:
    parts = folder / "purchases"
    parts.mkdir()
    (parts / "1.csv").write_bytes((folder / "purchases.csv").read_bytes())
    (parts / "2.csv").write_text("item_id,user_id,ts,amount\ni1,u1,2024-03-01,1\n", encoding="utf-8")
    ingest["interactions"][0]["path"] = str(parts)
    return r"source 'purchases' .*cannot be read as csv.*header"


def _too_dirty(folder: Path, ingest: dict[str, Any]) -> str:
    with (folder / "purchases.csv").open("a", encoding="utf-8") as file:
        file.write("u1,i1,2024-02-01,-5\nu1,,2024-02-02,5\nu1,i2,2024-02-03,-5\n")
    return r"source 'purchases' .*3 of 23 rows .*negative_price \(2\).*nothing was changed"


_FAULTS: list[Callable[[Path, dict[str, Any]], str]] = [
    _missing_file,
    _missing_column,
    _missing_key,
    _header_only,
    _no_bytes,
    _blank_lines,
    _no_object,
    _not_parquet,
    _cut_gzip,
    _other_header,
    _too_dirty,
]


@pytest.mark.parametrize("fault", _FAULTS, ids=lambda fault: fault.__name__.strip("_"))
def test_bad_source_is_refused_in_one_line(
    spark: SparkSession, tmp_path: Path, fault: Callable[[Path, dict[str, Any]], str]
) -> None:
    ingest = _write_lake(tmp_path)
    expected = fault(tmp_path, ingest)
    context = _context(spark, tmp_path, ingest)
    with pytest.raises(InputRefusedError, match=expected) as refused:
        STAGE.run(context)
    assert refused.value.exit_code == 3
    assert "\n" not in str(refused.value)
    assert not (tmp_path / "lake").exists()


def test_refused_night_leaves_the_tables_of_the_night_before(spark: SparkSession, tmp_path: Path) -> None:
    ingest = _write_lake(tmp_path)
    STAGE.run(_context(spark, tmp_path, ingest))
    context = _context(spark, tmp_path, ingest)
    before = {table.name: context.lake.version(table) for table in STAGE.writes}
    _too_dirty(tmp_path, ingest)
    with pytest.raises(InputRefusedError):
        STAGE.run(context)
    assert {table.name: context.lake.version(table) for table in STAGE.writes} == before
    assert context.lake.read(tables.INTERACTIONS).count() == 20


@pytest.mark.parametrize("missing", ["items", "interactions"])
def test_configuration_without_a_needed_source_is_refused(
    spark: SparkSession, tmp_path: Path, missing: str
) -> None:
    ingest = _write_lake(tmp_path)
    del ingest[missing]
    with pytest.raises(ConfigurationError, match=f"ingest.{missing}"):
        STAGE.run(_context(spark, tmp_path, ingest))
