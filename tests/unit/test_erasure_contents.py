"""Clients in files of every kind: found where they are named, and only there."""

from __future__ import annotations

import gzip
import io
import json
import zipfile
from typing import BinaryIO

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from isrf_pipeline.erasure.contents import places
from isrf_pipeline.erasure.identifiers import TextSearch, is_distinctive
from isrf_pipeline.erasure.naming import ClientColumns, Wanted, references_by_name
from isrf_pipeline.lake.schema import ClientReference

TABLE = {
    "user_id": (ClientReference(),),
    "id": (ClientReference(prefix="u:"),),
    "client_key": (ClientReference(hashed=True),),
}


def wanted(*identifiers: str) -> Wanted:
    text = TextSearch([one for one in identifiers if is_distinctive(one)])
    # Stands in for Spark's hash: a number that nobody writes by chance.
    return Wanted(frozenset(identifiers), text, {-(10**15) - len(one): one for one in identifiers})


def found(
    name: str, content: bytes, *identifiers: str, columns: ClientColumns | None = None
) -> dict[str, frozenset[str]]:
    def opened() -> BinaryIO:
        return io.BytesIO(content)

    return {place.where: place.identifiers for place in places(name, opened, wanted(*identifiers), columns)}


def parquet_file(columns: dict[str, pa.Array], **options: object) -> bytes:
    buffer = io.BytesIO()
    parquet.write_table(pa.table(columns), buffer, **options)
    return buffer.getvalue()


@pytest.mark.parametrize("compression", ["none", "snappy", "gzip", "zstd"])
@pytest.mark.parametrize("dictionary", [True, False])
def test_parquet_is_decoded_however_it_is_packed(compression: str, dictionary: bool) -> None:
    users = pa.array([f"CL-{number:04}" for number in range(3000)] + ["ZED-007"])
    content = parquet_file({"user_id": users}, compression=compression, use_dictionary=dictionary)
    assert found("part-0.parquet", content, "ZED-007", columns=TABLE)["column user_id"] == {"ZED-007"}
    assert found("part-0.parquet", content, "ZED-0071", "ZED-00", columns=TABLE) == {}


def test_short_identifiers_count_only_in_columns_that_name_clients() -> None:
    content = parquet_file(
        {
            "user_id": pa.array(["7", "120"]),
            "item_id": pa.array(["12", "12"]),
            "id": pa.array(["i:12", "u:9"]),
        }
    )
    assert found("a.parquet", content, "12", columns=TABLE) == {}
    named = found("a.parquet", content, "9", columns=TABLE)
    assert named.keys() == {"column id", "bounds of id"}


def test_text_columns_and_nested_ones_are_searched() -> None:
    content = parquet_file(
        {
            "note": pa.array(["spoke to CL-100.", None]),
            "listed": pa.array([["a", "CL-200"], []]),
            "facts": pa.array([{"inner": "of CL-300"}, {"inner": None}]),
        }
    )
    hits = found("a.parquet", content, "CL-100", "CL-200", "CL-300", "CL-400", columns=TABLE)
    assert {where: names for where, names in hits.items() if where != "text"} == {
        "column note": {"CL-100"},
        "column listed": {"CL-200"},
        "column inner": {"CL-300"},
    }


def test_another_clients_longer_identifier_is_not_the_client() -> None:
    content = parquet_file({"user_id": pa.array(["CL-100 B"])}, compression="gzip")
    assert found("a.parquet", content, "CL-100", columns=TABLE).keys() <= {"text"}


def test_arrays_within_binary_columns_are_unpacked() -> None:
    archive = io.BytesIO()
    np.savez_compressed(archive, names=np.array([b"x", b"CL-100"]))
    content = parquet_file({"content": pa.array([archive.getvalue()], pa.binary())})
    assert found("a.parquet", content, "CL-100", columns={})["column content"] == {"CL-100"}


def test_statistics_in_deltas_log_are_read_as_values() -> None:
    stats = json.dumps({"minValues": {"user_id": "12", "item_id": "9"}, "maxValues": {"user_id": "77"}})
    commit = json.dumps({"add": {"path": "part-0", "size": 12, "stats": stats}}).encode() + b"\n"
    assert found("00000000000000000001.json", commit, "12", columns=TABLE) == {
        "key user_id": frozenset({"12"})
    }
    assert found("00000000000000000001.json", commit, "9", columns=TABLE) == {}
    # A checkpoint holds the same text in a column.
    checkpoint = parquet_file({"add": pa.array([{"stats": stats, "size": 12}])})
    named = found("00000000000000000001.checkpoint.parquet", checkpoint, "77", columns=TABLE)
    assert named == {"column stats": frozenset({"77"})}


def test_hashes_of_identifiers_are_known_in_columns_that_hold_them() -> None:
    key = -(10**15) - len("CL-100")
    content = parquet_file({"client_key": pa.array([7, key, None]), "item_key": pa.array([key, 1, 2])})
    assert found("a.parquet", content, "CL-100", columns=TABLE) == {
        "bounds of client_key": frozenset({"CL-100"}),
        "column client_key": frozenset({"CL-100"}),
    }
    line = json.dumps(
        {"add": {"stats": json.dumps({"minValues": {"client_key": key, "item_key": 1}})}}
    ).encode()
    assert found("1.json", line, "CL-100", columns=TABLE) == {"key client_key": frozenset({"CL-100"})}


def test_a_column_may_name_a_client_in_some_rows_only() -> None:
    columns = {"subject": (ClientReference(when=("kind", "user.")),)}
    content = parquet_file(
        {"kind": pa.array(["user.single", "item.single"]), "subject": pa.array(["7", "12"])}
    )
    assert found("a.parquet", content, "12", columns=columns) == {}
    assert found("a.parquet", content, "7", columns=columns) == {"column subject": frozenset({"7"})}


def test_csv_cells_are_compared_as_a_whole() -> None:
    content = b'"SubscriberKey","rank"\r\n"120","12"\r\n"\'=7","3"\r\n"a ""b"" c-1","4"\r\n'
    assert found("crm.csv", content, "12") == {}
    assert found("crm.csv", content, "=7") == {"column SubscriberKey": frozenset({"=7"})}
    assert found("crm.csv", content, 'a "b" c-1')["column SubscriberKey"] == {'a "b" c-1'}


def test_packed_files_are_opened() -> None:
    lines = json.dumps({"external_id": "12"}).encode() + b"\n"
    assert found("crm.jsonl.gz", gzip.compress(lines), "12") == {"key external_id": frozenset({"12"})}
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("inner/note.txt", "about CL-100 " * 50)
    assert found("old.zip", archive.getvalue(), "CL-100") == {"text": frozenset({"CL-100"})}


def test_names_of_client_columns_have_many_spellings() -> None:
    assert all(references_by_name(name) for name in ("user_id", "SubscriberKey", "External ID", "client_key"))
    assert not any(references_by_name(name) for name in ("item_id", "rank", "segment_id", "id"))
    assert any(reference.hashed for reference in references_by_name("client_key"))
