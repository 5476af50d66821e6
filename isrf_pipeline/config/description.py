"""Describes every setting: the table of docs/configuration.md is generated from the settings themselves."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import annotated_types
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from isrf_pipeline.config.keys import holds_list, section_of
from isrf_pipeline.config.settings import Settings


def settings_table() -> list[str]:
    """Markdown of all settings, a table for each section."""
    lines: list[str] = []
    loose = [
        _row(name, field)
        for name, field in Settings.model_fields.items()
        if section_of(field.annotation) is None
    ]
    lines += ["## Top level", "", *_header(), *loose, ""]
    for name, field in Settings.model_fields.items():
        section = section_of(field.annotation)
        if section is None:
            continue
        lines += [f"## {name}", "", _summary(section), "", *_header(), *_rows(section, name), ""]
    return lines[:-1]


def _header() -> list[str]:
    return ["| key | type | default | meaning |", "|---|---|---|---|"]


def _rows(model: type[BaseModel], prefix: str) -> Iterator[str]:
    for name, field in model.model_fields.items():
        key = f"{prefix}.{name}"
        inner = section_of(field.annotation)
        if inner is None:
            yield _row(key, field)
        else:
            yield from _rows(inner, f"{key}.N" if holds_list(field.annotation) else key)


def _row(key: str, field: FieldInfo) -> str:
    meaning = field.description or ""
    return f"| `{key}` | {_cell(_type(field))} | {_cell(_default(field))} | {_cell(meaning)} |"


def _type(field: FieldInfo) -> str:
    annotation: Any = field.annotation
    name = (
        annotation.__name__
        if isinstance(annotation, type) and not hasattr(annotation, "__args__")
        else str(annotation)
    )
    name = re.sub(r"typing\.Literal\[(.*?)\]", r"one of \1", name).replace("NoneType", "None")
    bounds = [bound for rule in field.metadata if (bound := _bound(rule)) is not None]
    return " ".join([name, *bounds])


def _bound(rule: object) -> str | None:
    if isinstance(rule, annotated_types.Ge):
        return f">= {rule.ge}"
    if isinstance(rule, annotated_types.Gt):
        return f"> {rule.gt}"
    if isinstance(rule, annotated_types.Le):
        return f"<= {rule.le}"
    if isinstance(rule, annotated_types.Lt):
        return f"< {rule.lt}"
    return None


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True)
    assert value is not PydanticUndefined
    return "none" if value is None else f"`{json.dumps(value, ensure_ascii=False)}`"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _summary(section: type[BaseModel]) -> str:
    return (section.__doc__ or "").strip().splitlines()[0]
