"""Exports, run logs and raw rows without a client: the rest stays byte for byte."""

from __future__ import annotations

import datetime
import gzip
import hashlib
import json
from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow import parquet

from isrf_pipeline.erasure.exported import erase_from_exports
from isrf_pipeline.erasure.identifiers import TextSearch, is_distinctive
from isrf_pipeline.erasure.mentions import names_any
from isrf_pipeline.erasure.naming import Wanted
from isrf_pipeline.erasure.run_logs import redact_logs
from isrf_pipeline.exports.manifest import describe_file, write_manifest

NIGHT = datetime.date(2026, 6, 30)
TODAY = datetime.date(2026, 7, 1)


def wanted(*identifiers: str) -> Wanted:
    text = TextSearch([one for one in identifiers if is_distinctive(one)])
    return Wanted(frozenset(identifiers), text, {_key(one): one for one in identifiers})


def _key(identifier: str) -> int:
    """Stands in for Spark's hash."""
    return -(10**15) - int.from_bytes(identifier.encode(), "big") % 10**12


CSV = '"user_id","rec_1_item_id"\r\n"CL-100","a"\r\n"CL-1001","CL"\r\n"12","b"\r\n"7","12"\r\n'
EXAMPLE = '<article class="client">\n<h3>Client <bdi>{}</bdi></h3>\n<p>x</p></article>\n'


@pytest.fixture
def exports(tmp_path: Path) -> Path:
    """Two nights: one that names CL-100 and 12, one that names neither."""
    root = tmp_path / "exports"
    for night, users in ((NIGHT, ["CL-100", "CL-1001", "12", "7"]), (NIGHT - datetime.timedelta(1), ["7"])):
        folder = root / night.isoformat()
        (folder / "bi").mkdir(parents=True)
        text = CSV if len(users) > 1 else CSV.partition("\r\n")[0] + '\r\n"7","12"\r\n'
        (folder / "crm.csv").write_bytes(text.encode())
        (folder / "crm.jsonl.gz").write_bytes(
            gzip.compress(
                "".join(json.dumps({"external_id": user, "n": 12}) + "\n" for user in users).encode()
            )
        )
        rows = pa.table({"user_id": users, "rank": pa.array([12] * len(users), pa.int32())})
        parquet.write_table(rows, folder / "bi" / "part-00000.parquet", row_group_size=2)
        (folder / "report.html").write_text(
            "<html>" + "".join(EXAMPLE.format(user) for user in users) + "</html>"
        )
        facts = pa.table({"client_key": [_key(user) for user in users], "n": [12] * len(users)})
        parquet.write_table(facts, folder / "bi" / "facts.parquet")
        files = [
            describe_file(folder, path, len(users) if path.suffix != ".html" else None)
            for path in sorted(folder.rglob("*"))
            if path.is_file()
        ]
        write_manifest(folder, night, files)
    return root


def everything(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()
    }


@pytest.mark.parametrize("identifier", ["CL-100", "12"])
def test_a_night_is_written_again_without_the_client(exports: Path, identifier: str) -> None:
    other = exports / "2026-06-29"
    before = everything(other)
    done = erase_from_exports(exports, wanted(identifier), TODAY, dry_run=False)
    assert (done.rewritten, done.removed, done.rows) == (["2026-06-30"], [], 4)
    assert everything(other) == before
    folder = exports / "2026-06-30"
    left = [user for user in ("CL-100", "CL-1001", "12", "7") if user != identifier]
    lines = CSV.encode().splitlines(keepends=True)
    kept = [line for line in lines if not line.startswith(f'"{identifier}",'.encode())]
    assert (folder / "crm.csv").read_bytes() == b"".join(kept)
    packed = gzip.decompress((folder / "crm.jsonl.gz").read_bytes()).decode().splitlines()
    assert [json.loads(line)["external_id"] for line in packed] == left
    assert parquet.read_table(folder / "bi" / "part-00000.parquet").column("user_id").to_pylist() == left
    facts = parquet.read_table(folder / "bi" / "facts.parquet").column("client_key").to_pylist()
    assert facts == [_key(user) for user in left]
    report = (folder / "report.html").read_text()
    assert [user for user in ("CL-100", "CL-1001", "12", "7") if f"<bdi>{user}</bdi>" in report] == left
    assert report.endswith("</html>")


def test_the_manifest_tells_of_the_erasure_and_not_of_the_client(exports: Path) -> None:
    erase_from_exports(exports, wanted("CL-100", "12", "nobody-1"), TODAY, dry_run=False)
    folder = exports / "2026-06-30"
    text = (folder / "manifest.json").read_text()
    manifest = json.loads(text)
    assert "CL-100" not in text
    assert [(entry["clients"], entry["on"]) for entry in manifest["erased"]] == [(2, "2026-07-01")]
    assert "trained again by the next run" in manifest["erased"][0]["models"]
    rows = {entry["path"]: entry.get("rows") for entry in manifest["files"]}
    assert rows == {
        "crm.csv": 2,
        "crm.jsonl.gz": 2,
        "bi/part-00000.parquet": 2,
        "bi/facts.parquet": 2,
        "report.html": None,
    }
    for entry in manifest["files"]:
        content = (folder / entry["path"]).read_bytes()
        assert (entry["bytes"], entry["sha256"]) == (len(content), hashlib.sha256(content).hexdigest())
    # A second erasure is told beside the first.
    erase_from_exports(exports, wanted("CL-1001"), TODAY, dry_run=False)
    assert [entry["clients"] for entry in json.loads((folder / "manifest.json").read_text())["erased"]] == [
        2,
        1,
    ]


def test_a_night_that_cannot_be_written_again_goes(exports: Path) -> None:
    (exports / "2026-06-30" / "list.xls").write_bytes(b"\x00\x01CL-100\x00")
    (exports / ".2026-06-28.writing").mkdir()
    (exports / "archive").mkdir()
    (exports / "archive" / "old.xls").write_bytes(b"\x00CL-100\x00")
    dry = erase_from_exports(exports, wanted("CL-100"), TODAY, dry_run=True)
    assert dry.rewritten == ["2026-06-30", "archive"]
    done = erase_from_exports(exports, wanted("CL-100"), TODAY, dry_run=False)
    assert done.removed == ["2026-06-30"]
    assert sorted(path.name for path in exports.iterdir()) == ["2026-06-29", "archive"]


def test_tables_of_delta_in_a_nights_folder_are_not_patched(exports: Path) -> None:
    table = exports / "2026-06-30" / "star" / "dim_client"
    (table / "_delta_log").mkdir(parents=True)
    parquet.write_table(pa.table({"client_id": ["CL-100"]}), table / "part-0.parquet")
    assert erase_from_exports(exports, wanted("CL-100"), TODAY, dry_run=False).removed == ["2026-06-30"]


def test_run_logs_lose_names_and_nothing_else(tmp_path: Path) -> None:
    lines = [
        {"event": "asked", "subject": "12", "rows": 12},
        {"event": "failed", "error": "row of CL-100: broke", "other": "CL-1001"},
        {"event": "done", "rows": 12},
    ]
    log = tmp_path / "20260630-a.log"
    text = [json.dumps(line) + "\n" for line in lines] + ["26/06/30 ERROR java: user_id = 'CL-100'\n"]
    log.write_text("".join(text))
    untouched = tmp_path / "20260629-a.log"
    untouched.write_text(text[2])
    running = tmp_path / "20260701-a.log"
    running.write_text(text[1])
    before = untouched.stat().st_ino
    assert redact_logs(tmp_path, wanted("CL-100", "12"), apart_from=running) == 1
    after = log.read_text().splitlines()
    assert json.loads(after[0]) == {"event": "asked", "subject": "[erased]", "rows": 12}
    assert json.loads(after[1]) == {**lines[1], "error": "row of [erased]: broke"}
    assert after[2] == text[2].strip()
    assert after[3] == "26/06/30 ERROR java: user_id = '[erased]'"
    assert (untouched.stat().st_ino, running.read_text()) == (before, text[1])
    assert redact_logs(tmp_path / "nowhere", wanted("12")) == 0


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ('{"client_ref": "12", "amount": "7"}', True),
        ('{"client_ref": " 12 ", "amount": "7"}', True),
        ('{"client_ref": 12, "amount": "7"}', True),
        ('{"client_ref": "7", "amount": "12"}', False),
        ('{"client_ref": "120", "amount": "12"}', False),
        # A source that is configured no more: every column may be the client's.
        ('{"who": "12"}', True),
        ('{"who": "CL-1001"}', False),
        # Lines that could not be read.
        ("12;a;b", True),
        ("7;a;b", False),
        ('{"client_ref": "CL-100", "amou', True),
        ('{"client_ref": "CL-1001", "amou', False),
        ("", False),
    ],
)
def test_raw_rows_name_a_client_by_the_mapped_column(raw: str, expected: bool) -> None:
    assert names_any(raw, wanted("12", "CL-100"), {"client_ref"}) is expected


def test_documents_lose_the_elements_that_name_the_client_and_facts_the_rows_of_his_key(
    exports: Path,
) -> None:
    folder = exports / "2026-06-30"
    profiles = [{"external_id": name, "properties": {"n": [1]}} for name in ("CL-100", "CL-1001")]
    body = {"data": {"type": "job", "profiles": {"data": profiles}}}
    (folder / "body.json").write_text(json.dumps(body))
    facts = pa.table({"client_key": pa.array([-11, 22, -11], pa.int64()), "score": [0.1, 0.2, 0.3]})
    parquet.write_table(facts, folder / "bi" / "fact.parquet")
    one = wanted("CL-100")
    done = erase_from_exports(exports, Wanted(one.identifiers, one.text, {-11: "CL-100"}), TODAY, False)
    assert (done.rewritten, done.removed, done.rows) == (["2026-06-30"], [], 3 + 1 + 2)
    assert json.loads((folder / "body.json").read_text())["data"]["profiles"]["data"] == profiles[1:]
    assert parquet.read_table(folder / "bi" / "fact.parquet").to_pylist() == [
        {"client_key": 22, "score": 0.2}
    ]
    (told,) = json.loads((folder / "manifest.json").read_text())["erased"]
    assert told["clients"] == 1
