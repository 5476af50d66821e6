"""Reads a YAML file, applies overrides and says for each value where it came from."""

from __future__ import annotations

import difflib
import hashlib
import json
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import yaml
from pydantic import BaseModel, ValidationError

from isrf_pipeline.config.settings import Settings
from isrf_pipeline.errors import ConfigurationError

#: The only environment variables that configuration reads; all of them are secrets and none is ever printed.
SECRET_PREFIX = "ISRF_SECRET_"
_SECRET_REFERENCE = re.compile(r"\$\{secret:([A-Za-z0-9_]+)\}")


@dataclass(frozen=True)
class EffectiveSettings:
    """Validated settings and the origin of each value.

    Attributes
    ----------
    settings
        The validated settings.
    origins
        Dotted key to where its value came from: the file's name, ``--set`` or ``default``.
    config_hash
        First 16 hexadecimal digits of the SHA-256 of the settings as canonical JSON.
    """

    settings: Settings
    origins: dict[str, str]
    config_hash: str

    def rows(self) -> Iterator[tuple[str, str, str]]:
        """Yield (dotted key, value as JSON, origin), in the order of the settings' definition."""
        for key, value in _leaves(self.settings.model_dump(mode="json")):
            yield key, json.dumps(value, ensure_ascii=False), self.origin(key)

    def origin(self, key: str) -> str:
        """Say where the value at ``key`` came from, looking at its parents as well."""
        parts = key.split(".")
        for length in range(len(parts), 0, -1):
            found = self.origins.get(".".join(parts[:length]))
            if found is not None:
                return found
        return "default"


def load_settings(file: str | Path, overrides: Sequence[str] = ()) -> EffectiveSettings:
    """Read settings from a YAML file and ``key=value`` overrides.

    Relative paths of sources and of the lake are kept as they are: they are relative to the working folder.

    Parameters
    ----------
    file
        Path of the YAML file.
    overrides
        ``a.b=value`` strings; the value is parsed as YAML, so ``true``, ``3`` and ``[a, b]`` have their types.

    Raises
    ------
    ConfigurationError
        If the file cannot be read, is not YAML, holds an unknown key or a value that breaks a rule.
    """
    path = Path(file)
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        near = difflib.get_close_matches(path.name, [p.name for p in path.parent.glob("*.yaml")], n=1)
        hint = f"did you mean {path.parent / near[0]}" if near else "name an existing YAML file with --conf-file"
        raise ConfigurationError(str(path), "the configuration file does not exist", hint) from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(str(path), f"cannot be read ({error})", "check the path, its rights and encoding") from None
    try:
        values = yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f" at line {mark.line + 1}" if mark is not None else ""
        raise ConfigurationError(str(path), f"is not valid YAML{where}", "mend the syntax there") from None
    if values is None:
        values = {}
    if not isinstance(values, dict):
        raise ConfigurationError(str(path), "must hold a mapping of sections", "see conf/local.yaml for the shape")
    origins = {key: path.name for key, _ in _leaves(values)}
    for override in overrides:
        key, value = _parse_override(override)
        _assign(values, key, value)
        for known in [k for k in origins if k == key or k.startswith(f"{key}.")]:
            del origins[known]
        origins[key] = "--set"
    _refuse_unknown_keys(values, Settings, prefix="", source=str(path))
    values = _resolve_secrets(values)
    try:
        settings = Settings.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"]) or "the file as a whole"
        message = first["msg"].removeprefix("Value error, ")
        given = "" if first["type"] == "missing" or isinstance(first["input"], dict) else f" (found {first['input']!r})"
        raise ConfigurationError(
            f"{path} key {key}", message + given, "correct it in the file or with --set, see docs/configuration.md"
        ) from None
    return EffectiveSettings(settings, origins, settings_hash(settings))


def settings_hash(settings: Settings) -> str:
    """First 16 hexadecimal digits of the SHA-256 of the settings as canonical JSON."""
    canonical = json.dumps(settings.model_dump(mode="json"), sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(canonical.encode()).hexdigest()[:16]


def _parse_override(override: str) -> tuple[str, Any]:
    key, separator, text = override.partition("=")
    if not separator or not key.strip():
        raise ConfigurationError(f"--set {override}", "is not of the form key=value", "write for example --set spark.master=local[2]")
    try:
        return key.strip(), yaml.safe_load(text)
    except yaml.YAMLError:
        return key.strip(), text


def _assign(values: dict[str, Any], key: str, value: Any) -> None:
    *parents, last = key.split(".")
    node = values
    for parent in parents:
        child = node.get(parent)
        if not isinstance(child, dict):
            child = {}
            node[parent] = child
        node = child
    node[last] = value


def _leaves(values: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(values, dict) and values:
        for key, value in values.items():
            yield from _leaves(value, f"{prefix}.{key}" if prefix else str(key))
    else:
        yield prefix, values


def _refuse_unknown_keys(values: Any, model: type[BaseModel], prefix: str, source: str) -> None:
    if not isinstance(values, dict):
        return
    for key, value in values.items():
        name = f"{prefix}.{key}" if prefix else str(key)
        if key not in model.model_fields:
            near = difflib.get_close_matches(str(key), list(model.model_fields), n=1, cutoff=0.5)
            hint = f"did you mean '{near[0]}'" if near else f"known keys here are {', '.join(model.model_fields)}"
            raise ConfigurationError(f"{source} key {name}", "is not a known setting", hint)
        inner = _section_of(model.model_fields[key].annotation)
        if inner is None:
            continue
        if isinstance(value, list):
            for position, element in enumerate(value):
                _refuse_unknown_keys(element, inner, f"{name}.{position}", source)
        else:
            _refuse_unknown_keys(value, inner, name, source)


def _section_of(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for argument in get_args(annotation):
        found = _section_of(argument)
        if found is not None:
            return found
    return None


def _resolve_secrets(values: Any) -> Any:
    if isinstance(values, dict):
        return {key: _resolve_secrets(value) for key, value in values.items()}
    if isinstance(values, list):
        return [_resolve_secrets(value) for value in values]
    if isinstance(values, str):
        return _SECRET_REFERENCE.sub(_secret, values)
    return values


def _secret(match: re.Match[str]) -> str:
    variable = SECRET_PREFIX + match.group(1)
    try:
        return os.environ[variable]
    except KeyError:
        raise ConfigurationError(
            f"${{secret:{match.group(1)}}}", f"the environment variable {variable} is not set", "export it before the run"
        ) from None
