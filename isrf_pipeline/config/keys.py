"""Dotted keys of the settings: walking, placing and refusing them."""

from __future__ import annotations

import difflib
import types
from collections.abc import Iterator
from typing import Any, get_args, get_origin

from pydantic import BaseModel

from isrf_pipeline.config.settings import Settings
from isrf_pipeline.errors import ConfigurationError


def leaves(values: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield (dotted key, value) of everything below ``values`` that is no mapping, or an empty one."""
    if isinstance(values, dict) and values:
        for key, value in values.items():
            yield from leaves(value, f"{prefix}.{key}" if prefix else str(key))
    else:
        yield prefix, values


def section_of(annotation: Any) -> type[BaseModel] | None:
    """Section that a field holds: itself, as an optional, or as the elements of a list."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for argument in get_args(annotation):
        found = section_of(argument)
        if found is not None:
            return found
    return None


def known_keys(model: type[BaseModel] = Settings, prefix: str = "") -> Iterator[str]:
    """Yield the dotted key of every setting, with ``N`` for the position in a list of sections."""
    for name, definition in model.model_fields.items():
        key = f"{prefix}.{name}" if prefix else name
        inner = section_of(definition.annotation)
        if inner is None:
            yield key
        else:
            yield from known_keys(inner, f"{key}.N" if holds_list(definition.annotation) else key)


def holds_list(annotation: Any) -> bool:
    """Whether a field is a list, optional or not."""
    if get_origin(annotation) is list:
        return True
    return isinstance(annotation, types.UnionType) and any(holds_list(part) for part in get_args(annotation))


def drop_empty_sections(values: dict[str, Any], model: type[BaseModel]) -> None:
    """Take empty sections out of ``values``: a header whose keys are all commented out is no value."""
    for key in list(values):
        definition = model.model_fields.get(key)
        if definition is None:
            continue
        annotation = definition.annotation
        if not (isinstance(annotation, type) and issubclass(annotation, BaseModel)):
            continue
        if values[key] is None or values[key] == {}:
            del values[key]
        elif isinstance(values[key], dict):
            drop_empty_sections(values[key], annotation)


def refuse_unknown_keys(
    values: Any, model: type[BaseModel], prefix: str, source: str, root: type[BaseModel] = Settings
) -> None:
    """Refuse the first key of ``values`` that is no setting.

    Parameters
    ----------
    values
        What was read.
    model
        What it is to become.
    prefix
        Dotted key of ``values``; empty at the top.
    source
        Where it comes from, for the message.
    root
        What the whole file is to become: a key that stands in the wrong place is looked for in it.

    Raises
    ------
    ConfigurationError
        Naming the key and the nearest right one.
    """
    if not isinstance(values, dict):
        return
    for key, value in values.items():
        name = f"{prefix}.{key}" if prefix else str(key)
        if key not in model.model_fields:
            raise ConfigurationError(
                f"{source} key {name}", "is not a known setting", _nearest(str(key), model, root)
            )
        inner = section_of(model.model_fields[key].annotation)
        if inner is None:
            continue
        if isinstance(value, list):
            for position, element in enumerate(value):
                refuse_unknown_keys(element, inner, f"{name}.{position}", source, root)
        else:
            refuse_unknown_keys(value, inner, name, source, root)


def place(values: dict[str, Any], key: str, value: Any, model: type[BaseModel]) -> None:
    """Put ``value`` at the dotted ``key``; what follows a mapping's name is one key of it, dots included.

    Raises
    ------
    ConfigurationError
        If the key is no setting or a position lies outside its list.
    """
    parts = key.split(".")
    node: Any = values
    for depth, part in enumerate(parts[:-1]):
        if part not in model.model_fields:
            raise ConfigurationError(
                f"--set key {key}", f"'{part}' is not a known setting", _nearest(part, model)
            )
        annotation = model.model_fields[part].annotation
        inner = section_of(annotation)
        if inner is None and not holds_list(annotation):
            mapping = node.get(part)
            node[part] = {
                **(mapping if isinstance(mapping, dict) else {}),
                ".".join(parts[depth + 1 :]): value,
            }
            return
        if holds_list(annotation):
            _place_in_list(node.get(part), key, parts[depth + 1 :], value, inner)
            return
        if not isinstance(node.get(part), dict):
            node[part] = {}
        node = node[part]
        assert inner is not None
        model = inner
    if parts[-1] not in model.model_fields:
        raise ConfigurationError(
            f"--set key {key}", f"'{parts[-1]}' is not a known setting", _nearest(parts[-1], model)
        )
    node[parts[-1]] = value


def _place_in_list(
    elements: Any, key: str, rest: list[str], value: Any, inner: type[BaseModel] | None
) -> None:
    count = len(elements) if isinstance(elements, list) else 0
    if not rest[0].isdigit() or int(rest[0]) >= count:
        raise ConfigurationError(
            f"--set key {key}",
            f"'{rest[0]}' is no position in a list of {count}",
            "count from 0, or set the whole list",
        )
    position = int(rest[0])
    if len(rest) == 1:
        elements[position] = value
    elif inner is not None and isinstance(elements[position], dict):
        place(elements[position], ".".join(rest[1:]), value, inner)
    else:
        raise ConfigurationError(f"--set key {key}", "goes below a plain value", "set the value itself")


def _nearest(key: str, model: type[BaseModel], root: type[BaseModel] = Settings) -> str:
    near = difflib.get_close_matches(key, list(model.model_fields), n=1, cutoff=0.5)
    if near:
        return f"did you mean '{near[0]}'"
    elsewhere = [known for known in known_keys(root) if known.rpartition(".")[2] == key]
    if elsewhere:
        return f"did you mean '{elsewhere[0]}'"
    return f"known keys here are {', '.join(model.model_fields)}"
