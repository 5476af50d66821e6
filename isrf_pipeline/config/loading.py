"""Reads a YAML file, applies overrides and says for each value where it came from."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from isrf_pipeline.config.broken_rules import first_broken_rule
from isrf_pipeline.config.keys import drop_empty_sections, leaves, place, refuse_unknown_keys
from isrf_pipeline.config.redaction import HIDDEN, is_secret_key, redacted, remember_secret
from isrf_pipeline.config.secrets import SECRET_PREFIX, as_written, resolve_secrets, secret_values
from isrf_pipeline.config.settings import Settings
from isrf_pipeline.config.yaml_text import parse_yaml, read_mapping
from isrf_pipeline.errors import ConfigurationError

__all__ = ["SECRET_PREFIX", "EffectiveSettings", "load_settings", "settings_hash"]


@dataclass(frozen=True)
class EffectiveSettings:
    """Validated settings and the origin of each value.

    Attributes
    ----------
    settings
        The validated settings.
    origins
        Dotted key to where its value came from: the file's name or ``--set``.
    config_hash
        First 16 hexadecimal digits of the SHA-256 of the settings as canonical JSON, secrets as written.
    secrets
        Dotted key of each value that refers to a secret, to the value as written in the file.
    """

    settings: Settings
    origins: dict[str, str]
    config_hash: str
    secrets: dict[str, str] = field(default_factory=dict)

    def rows(self) -> Iterator[tuple[str, str, str]]:
        """Yield (dotted key, value as JSON, origin), in the order of the settings' definition.

        A value that refers to a secret is shown as written, for example ``${secret:NAME}``; one that is a secret itself
        is not shown.
        """
        for key, value in leaves(as_written(self.settings.model_dump(mode="json"), self.secrets)):
            hidden = is_secret_key(key) and value is not None and key not in self.secrets
            shown = HIDDEN if hidden else redacted(json.dumps(value, ensure_ascii=False))
            yield key, shown, self.origin(key)

    def origin(self, key: str) -> str:
        """Say where the value at ``key`` came from; a list may come from two places."""
        own = self.origins.get(key)
        if any(known.startswith(f"{key}.") for known in self.origins):
            return f"{own} and --set" if own is not None else "--set"
        return own or "default"


def load_settings(file: str | Path, overrides: Sequence[str] = ()) -> EffectiveSettings:
    """Read settings from a YAML file and ``key=value`` overrides.

    Relative paths of sources and of the lake are kept as they are: they are relative to the working folder.

    Parameters
    ----------
    file
        Path of the YAML file.
    overrides
        ``a.b=value`` strings; the value is parsed as YAML, so ``true``, ``3`` and ``[a, b]`` have types.
        A number in the key is a position in a list, as in ``ingest.interactions.0.path=orders.csv``.

    Raises
    ------
    ConfigurationError
        If the file cannot be read, is not YAML, holds an unknown key or a value that breaks a rule.
    """
    path = Path(file)
    values = read_mapping(
        path, "the configuration file", "name an existing YAML file with --conf-file", "see conf/local.yaml"
    )
    drop_empty_sections(values, Settings)
    refuse_unknown_keys(values, Settings, prefix="", source=str(path))
    origins = {key: path.name for key, _ in leaves(values) if key}
    for override in overrides:
        key, value = _parse_override(override)
        place(values, key, value, Settings)
        for known in [k for k in origins if k == key or k.startswith(f"{key}.")]:
            del origins[known]
        origins |= {leaf: "--set" for leaf, _ in leaves(value, key)}
    refuse_unknown_keys(values, Settings, prefix="", source="--set")
    secrets = dict(secret_values(values))
    for key, value in leaves(values):
        if is_secret_key(key) and key not in secrets and isinstance(value, str):
            remember_secret(value)
    try:
        settings = Settings.model_validate(resolve_secrets(values))
    except ValidationError as error:
        raise _refusal(error, path, origins, secrets) from None
    return EffectiveSettings(settings, origins, settings_hash(settings, secrets), secrets)


def settings_hash(settings: Settings, secrets: dict[str, str] | None = None) -> str:
    """First 16 hexadecimal digits of the SHA-256 of the settings as canonical JSON.

    Secrets enter as written, so that a rotated secret is no other configuration.
    """
    shown = as_written(settings.model_dump(mode="json"), secrets or {})
    canonical = json.dumps(shown, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(canonical.encode()).hexdigest()[:16]


def _parse_override(override: str) -> tuple[str, Any]:
    key, separator, text = override.partition("=")
    if not separator or not key.strip():
        raise ConfigurationError(
            f"--set {override}",
            "is not of the form key=value",
            "write for example --set spark.master=local[2]",
        )
    try:
        return key.strip(), parse_yaml(text)
    except yaml.YAMLError:
        return key.strip(), text


def _refusal(
    error: ValidationError, path: Path, origins: dict[str, str], secrets: dict[str, str]
) -> ConfigurationError:
    key, broken = first_broken_rule(error, secrets)
    source = "--set" if origins.get(key) == "--set" else str(path)
    subject = f"{source} key {key}" if key else source
    mend = "correct it in the file or with --set, see docs/configuration.md"
    return ConfigurationError(subject, broken, mend)
