"""YAML as configuration needs it: dates stay text, and a key given twice is refused."""

from __future__ import annotations

from typing import Any

import yaml


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
