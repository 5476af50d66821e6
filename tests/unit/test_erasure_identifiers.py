"""Identifiers in text: whole words only, in every spelling, and never by chance."""

from __future__ import annotations

import html
import io
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isrf_pipeline.erasure import identifiers
from isrf_pipeline.erasure.identifiers import TextSearch, clean_identifiers, is_distinctive

HOSTILE = [
    "x'; DROP TABLE users; --1",
    'a"b-77',
    "50%_off-1",
    "../../etc/passwd1",
    "<b>client-1</b>",
    "jos\u00e9-41",
    "O\u2019Hara 12",
]


@pytest.mark.parametrize(
    ("identifier", "expected"),
    [
        ("CL-40233", True),
        ("anna.b@example.com", True),
        ("a1b2c3", True),
        ("12", False),
        ("20260630", False),
        ("purchase", False),
        ("in_stock", False),
        ("C-10", False),
    ],
)
def test_what_is_no_more_than_a_number_or_a_word_is_not_sought_in_text(
    identifier: str, expected: bool
) -> None:
    assert is_distinctive(identifier) is expected


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("client CL-100 left", True),
        ("CL-100", True),
        ("u:CL-100,", True),
        ('{"subject": "CL-100"}', True),
        ("it was CL-100.", True),
        ("<bdi>CL-100</bdi>", True),
        ("CL-1001", False),
        ("XCL-100", False),
        ("CL-100-B", False),
        ("B-CL-100", False),
        ("CL-100@example.com", False),
        ("cl-100", False),
    ],
)
def test_only_whole_words_count(text: str, found: bool) -> None:
    assert TextSearch(["CL-100"]).in_bytes(text.encode()) == ({"CL-100"} if found else set())


@pytest.mark.parametrize("identifier", HOSTILE)
def test_hostile_identifiers_are_found_however_they_are_escaped(identifier: str) -> None:
    search = TextSearch([identifier])
    doubled = identifier.replace('"', '""')
    for text in (
        f"client {identifier} left",
        json.dumps({"subject": identifier}),
        json.dumps({"stats": json.dumps({"min": identifier})}),
        json.dumps({"subject": identifier}, ensure_ascii=False),
        f"<h3>{html.escape(identifier)}</h3>",
        f'"{doubled}","1"',
    ):
        assert search.in_bytes(text.encode()) == {identifier}, text
    assert search.in_bytes(f"client {identifier}9 left".encode()) == (
        {identifier} if not identifier[-1].isalnum() else set()
    )


def test_an_escaped_line_end_does_not_hide_what_follows() -> None:
    trace = json.dumps({"trace": "first\nCL-100\tlast"})
    assert TextSearch(["CL-100"]).in_bytes(trace.encode()) == {"CL-100"}


def test_redaction_leaves_other_clients_alone() -> None:
    search = TextSearch(["CL-100", "CL-200"])
    text, count = search.redacted(b"CL-100 CL-1001 CL-200-B CL-200; CL-100")
    assert (text, count) == (b"[erased] CL-1001 CL-200-B [erased]; [erased]", 3)
    assert search.redacted(b"nobody") == (b"nobody", 0)


def test_blanks_around_identifiers_go_as_ingest_trims_them() -> None:
    assert clean_identifiers([" a b ", "a b", "", "\u00a0c\r", "\t"]) == ("a b", "c")


@given(text=st.text(alphabet="aC1-.@_ \\n\u00e9", max_size=40))
def test_many_identifiers_are_found_as_a_few_are(text: str) -> None:
    sought = ["aC-1", "C1", "a.C", "-1a", "\u00e91", "a C"]
    filling = [f"filling-{number}" for number in range(identifiers._FEW + 1)]
    data = text.encode()
    assert TextSearch(sought).in_bytes(data) == TextSearch(sought + filling).in_bytes(data)


@given(
    before=st.text(alphabet="aC1-. ", max_size=12),
    after=st.text(alphabet="aC1-. ", max_size=12),
    block=st.integers(min_value=40, max_value=64),
)
def test_a_stream_read_in_blocks_gives_what_the_whole_gives(before: str, after: str, block: int) -> None:
    data = (before + "CC-1aa" + after).encode() * 7
    search = TextSearch(["CC-1aa"])
    whole = search.in_bytes(data)
    saved = identifiers._BLOCK_BYTES
    identifiers._BLOCK_BYTES = block
    try:
        assert search.in_stream(io.BytesIO(data)) == whole
    finally:
        identifiers._BLOCK_BYTES = saved
