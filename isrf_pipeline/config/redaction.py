"""What may be shown of a text: secrets that this process has read are replaced, and so are passwords within addresses.

Logs, error texts, what a terminal shows and what ops.runs keeps all pass through here. Secrets are remembered where
settings are loaded; a text cannot be told from a secret by its looks.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from urllib.parse import quote

#: Stands for a secret that has no name.
HIDDEN = "***"
#: Shorter values occur by chance: replacing them would garble texts and hide nothing.
_SHORTEST = 4
#: Names of Spark properties whose values are secret; Spark's own default, and what object stores call theirs.
_SECRET_PROPERTY = re.compile(
    r"secret|passw|token|credential|access[._-]?key|account[._-]?key|api[._-]?key|private[._-]?key|\bsas\b",
    re.I,
)
_PROPERTIES = "spark.conf."
_SECRET_SETTINGS = {"reasoning.server.api_key"}
#: A password in front of a host, and one among the parameters of an address.
_IN_ADDRESS = (
    re.compile(r"(?<=://)([^/\s:@\"']*:)(?!\$\{secret:)[^/\s@\"']+(?=@)"),
    re.compile(
        r"([?&;](?:sig|token|password|passwd|pwd|secret|api_?key|access_?token)=)(?!\$\{secret:)[^&;\s\"']+",
        re.I,
    ),
)

_shown_for: dict[str, str] = {}


def is_secret_key(key: str) -> bool:
    """Whether the setting at a dotted key is secret wherever it comes from."""
    if key.startswith(_PROPERTIES):
        return _SECRET_PROPERTY.search(key.removeprefix(_PROPERTIES)) is not None
    return key in _SECRET_SETTINGS


def remember_secret(value: str, shown: str = HIDDEN) -> None:
    """From now on show ``shown`` where ``value`` would be, also where it is quoted for an address, JSON or Python."""
    if len(value) < _SHORTEST:
        return
    for written in (repr(value)[1:-1], json.dumps(value)[1:-1], quote(value), quote(value, safe=""), value):
        _shown_for[written] = shown


def redacted(text: str) -> str:
    """Text without the secrets that this process knows and without passwords in addresses."""
    # The longest first: one secret may be a part of another.
    for written in sorted(_shown_for, key=len, reverse=True):
        text = text.replace(written, _shown_for[written])
    for pattern in _IN_ADDRESS:
        text = pattern.sub(rf"\g<1>{HIDDEN}", text)
    return text


def redact_file(file: Path) -> None:
    """Replace secrets in a file that programs other than this one have written to as well."""
    text = file.read_text(encoding="utf-8", errors="surrogateescape")
    shown = redacted(text)
    if shown != text:
        file.write_text(shown, encoding="utf-8", errors="surrogateescape")
