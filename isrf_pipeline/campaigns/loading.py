"""Reads briefs from YAML files; whatever is wrong is named with file, key, rule and mend."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pydantic import ValidationError

from isrf_pipeline.campaigns.brief import Brief
from isrf_pipeline.config.broken_rules import first_broken_rule
from isrf_pipeline.config.keys import drop_empty_sections, refuse_unknown_keys
from isrf_pipeline.config.yaml_text import read_mapping
from isrf_pipeline.errors import ConfigurationError

_DOCUMENTATION = "docs/campaigns.md"


def load_brief(path: Path) -> Brief:
    """Read one brief.

    Parameters
    ----------
    path
        A YAML file. A relative ``exclude.clients_file`` in it is taken from the file's own folder.

    Raises
    ------
    ConfigurationError
        If the file cannot be read, holds an unknown key or a value that breaks a rule.
    """
    values = read_mapping(path, "the brief", "name an existing YAML file", f"see {_DOCUMENTATION}")
    drop_empty_sections(values, Brief)
    refuse_unknown_keys(values, Brief, prefix="", source=str(path), root=Brief)
    try:
        brief = Brief.model_validate(values)
    except ValidationError as error:
        key, broken = first_broken_rule(error)
        subject = f"{path} key {key}" if key else str(path)
        raise ConfigurationError(subject, broken, f"correct it there, see {_DOCUMENTATION}") from None
    listed = brief.exclude.clients_file
    if listed is None or "://" in listed:
        return brief
    exclude = brief.exclude.model_copy(update={"clients_file": str(path.parent / listed)})
    return brief.model_copy(update={"exclude": exclude})


def load_briefs(places: Sequence[str]) -> list[Brief]:
    """Read all briefs that ``places`` name, in the order of their ids.

    Parameters
    ----------
    places
        Files, and folders whose ``*.yaml`` and ``*.yml`` files are read.

    Raises
    ------
    ConfigurationError
        As :func:`load_brief`; if a place does not exist; if two files have the same id.
    """
    files = list(dict.fromkeys(file for place in places for file in _files(Path(place))))
    briefs: dict[str, tuple[Brief, Path]] = {}
    for file in files:
        brief = load_brief(file)
        if brief.id in briefs:
            raise ConfigurationError(
                f"{file} key id",
                f"'{brief.id}' is the id of {briefs[brief.id][1]} already",
                "give each campaign an id of its own",
            )
        briefs[brief.id] = (brief, file)
    return [briefs[id_][0] for id_ in sorted(briefs)]


def _files(place: Path) -> list[Path]:
    if not place.is_dir():
        return [place]
    return sorted(file for suffix in ("*.yaml", "*.yml") for file in place.glob(suffix) if file.is_file())
