"""The lake's own run logs: lines that name a client lose the name."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from isrf_pipeline.erasure.identifiers import ERASED
from isrf_pipeline.erasure.naming import Wanted, references_by_name


def redact_logs(folder: Path, wanted: Wanted, apart_from: Path | None = None) -> int:
    """Replace ``wanted`` in all ``*.log`` files of ``folder`` and return how many files named any.

    Parameters
    ----------
    folder
        Folder of the logs; it need not exist.
    wanted
        Whom to look for: in text where they are distinctive, else as whole values of fields that name a client.
    apart_from
        Log that is being written.
    """
    changed = 0
    for path in sorted(folder.glob("*.log")) if folder.is_dir() else []:
        if apart_from is not None and path.absolute() == apart_from.absolute():
            continue
        changed += _redact(path, wanted)
    return changed


def _redact(path: Path, wanted: Wanted) -> bool:
    partial = path.with_name(f".{path.name}.redacting")
    count = 0
    with path.open("rb") as lines, partial.open("wb") as kept:
        for line in lines:
            text, found = redacted_line(line, wanted)
            kept.write(text)
            count += found
    if not count:
        partial.unlink()
        return False
    before = path.stat()
    os.utime(partial, ns=(before.st_atime_ns, before.st_mtime_ns))
    partial.replace(path)
    return True


def redacted_line(line: bytes, wanted: Wanted) -> tuple[bytes, int]:
    """A log line without ``wanted``, and how many names it lost."""
    text, count = wanted.text.redacted(line) if wanted.text else (line, 0)
    if not text.startswith(b"{"):
        return text, count
    try:
        row = json.loads(text)
    except ValueError:
        return text, count
    fields = _redact_fields(row, wanted)
    if not fields:
        return text, count
    return json.dumps(row, ensure_ascii=False).encode() + b"\n", count + fields


def _redact_fields(content: Any, wanted: Wanted) -> int:
    """Replace whole values of fields that name a client, in place."""
    count = 0
    if isinstance(content, dict):
        for key, value in content.items():
            if isinstance(value, str | int) and wanted.named(str(value), references_by_name(key)):
                content[key] = ERASED.decode()
                count += 1
            else:
                count += _redact_fields(value, wanted)
    elif isinstance(content, list):
        for value in content:
            count += _redact_fields(value, wanted)
    return count
