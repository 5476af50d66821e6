"""Names the first rule that a value from a file has broken."""

from __future__ import annotations

from collections.abc import Container

from pydantic import ValidationError

from isrf_pipeline.config.redaction import is_secret_key


def first_broken_rule(error: ValidationError, secrets: Container[str] = ()) -> tuple[str, str]:
    """Dotted key of the first broken rule, and the rule with what was found instead.

    Parameters
    ----------
    error
        What validation raised.
    secrets
        Keys whose values must never be printed.
    """
    first = error.errors()[0]
    key = ".".join(str(part) for part in first["loc"])
    message = first["msg"].removeprefix("Value error, ")
    found = first["input"]
    # Whole sections say nothing in one line, and a secret must never be printed.
    silent = (
        first["type"] == "missing"
        or isinstance(found, dict | list)
        or key in secrets
        or is_secret_key(key.removesuffix(".[key]"))
    )
    given = "" if silent else f" (found {found!r})"
    more = f", and {error.error_count() - 1} more" if error.error_count() > 1 else ""
    return key, message + given + more
