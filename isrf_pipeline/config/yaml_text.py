"""YAML as configuration needs it: dates stay text, and a key given twice is refused."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Any

import yaml

from isrf_pipeline.errors import ConfigurationError


class _Loader(yaml.SafeLoader):
    """Safe loader without dates; a mapping that names a key twice is an error, not a silent choice."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """Build one mapping, refusing a repeated key."""
        seen = set()
        for key_node, _ in node.value:
            if key_node.value in seen:
                raise yaml.constructor.ConstructorError(
                    problem=f"the key '{key_node.value}' stands there twice", problem_mark=key_node.start_mark
                )
            if isinstance(key_node.value, str) and key_node.tag != "tag:yaml.org,2002:merge":
                seen.add(key_node.value)
        return super().construct_mapping(node, deep)


_TIMESTAMP = "tag:yaml.org,2002:timestamp"
# A setting such as 2000-01-01 is text to us: pydantic would refuse the date object that YAML makes of it.
_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != _TIMESTAMP]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def parse_yaml(text: str) -> Any:
    """Parse one YAML document.

    Raises
    ------
    yaml.YAMLError
        If the text is not YAML or a mapping names a key twice.
    """
    return yaml.load(text, Loader=_Loader)


def read_mapping(path: Path, what: str, where: str, shape: str) -> dict[str, Any]:
    """Read a YAML file that holds a mapping; an empty file is an empty one.

    Parameters
    ----------
    path
        The file.
    what
        What it is, for example "the configuration file".
    where
        Mend where it does not exist and no file beside it has a similar name.
    shape
        Mend where it holds something else.

    Raises
    ------
    ConfigurationError
        If the file cannot be read, is not YAML or holds no mapping.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        near = difflib.get_close_matches(path.name, sorted(p.name for p in path.parent.glob("*.yaml")), n=1)
        hint = f"did you mean {path.parent / near[0]}" if near else where
        raise ConfigurationError(str(path), f"{what} does not exist", hint) from None
    except UnicodeDecodeError:
        raise ConfigurationError(str(path), "is not UTF-8 text", "save the file as UTF-8") from None
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise ConfigurationError(
            str(path), f"cannot be read ({reason})", "check the path and its rights"
        ) from None
    try:
        values = parse_yaml(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f" at line {mark.line + 1}" if mark is not None else ""
        problem = getattr(error, "problem", None)
        why = f" ({problem})" if problem else ""
        raise ConfigurationError(
            str(path), f"is not valid YAML{line}{why}", "mend the syntax there"
        ) from None
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise ConfigurationError(str(path), "must hold a mapping of keys to values", shape)
    return values
