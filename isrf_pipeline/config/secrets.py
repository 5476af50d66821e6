"""Secrets: written as ``${secret:NAME}``, read from the environment, shown as they were written."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from typing import Any

from isrf_pipeline.config.redaction import remember_secret
from isrf_pipeline.errors import ConfigurationError

#: The only environment variables that configuration reads; all of them are secrets and none is ever printed.
SECRET_PREFIX = "ISRF_SECRET_"
_REFERENCE = re.compile(r"\$\{secret:([A-Za-z0-9_]+)\}")


def resolve_secrets(values: Any) -> Any:
    """Copy ``values`` with every reference replaced by its secret.

    Raises
    ------
    ConfigurationError
        If the environment variable of a reference is not set.
    """
    if isinstance(values, dict):
        return {key: resolve_secrets(value) for key, value in values.items()}
    if isinstance(values, list):
        return [resolve_secrets(value) for value in values]
    if isinstance(values, str):
        return _REFERENCE.sub(_secret, values)
    return values


def secret_values(values: Any, prefix: str = "") -> Iterator[tuple[str, str]]:
    """Yield (dotted key, value as written) of each value that refers to a secret."""
    parts: Iterator[tuple[Any, Any]]
    if isinstance(values, dict):
        parts = iter(values.items())
    elif isinstance(values, list):
        parts = iter(enumerate(values))
    else:
        if isinstance(values, str) and _REFERENCE.search(values):
            yield prefix, values
        return
    for key, value in parts:
        yield from secret_values(value, f"{prefix}.{key}" if prefix else str(key))


def as_written(values: Any, secrets: dict[str, str], prefix: str = "") -> Any:
    """Copy ``values`` with each value that held a secret put back as it was written."""
    if prefix in secrets:
        return secrets[prefix]
    if isinstance(values, dict):
        return {k: as_written(v, secrets, f"{prefix}.{k}" if prefix else str(k)) for k, v in values.items()}
    if isinstance(values, list):
        return [as_written(value, secrets, f"{prefix}.{position}") for position, value in enumerate(values)]
    return values


def _secret(match: re.Match[str]) -> str:
    variable = SECRET_PREFIX + match.group(1)
    try:
        value = os.environ[variable]
    except KeyError:
        rule = f"the environment variable {variable} is not set"
        raise ConfigurationError(match.group(0), rule, "export it before the run") from None
    remember_secret(value, match.group(0))
    return value
