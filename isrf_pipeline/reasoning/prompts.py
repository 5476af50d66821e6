"""Renders the versioned prompt files: fixed instructions and example first, the subject's own data last.

The fixed part takes no variables, so that the engine computes it once and finds it in its prefix cache afterwards.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from jinja2 import DictLoader, StrictUndefined, Template
from jinja2.sandbox import SandboxedEnvironment

#: Folder of the prompt files in use; a change of wording is a new version.
PROMPT_VERSION = "v1"


@dataclass(frozen=True)
class Prompt:
    """One rendered prompt.

    Attributes
    ----------
    system
        Instructions, the same for all subjects of a step.
    example, example_answer
        A worked example as the chat's first turn, the same for all subjects: small models follow an example better
        than an instruction.
    user
        The subject's own data.
    """

    system: str
    example: str
    example_answer: str
    user: str

    def messages(self) -> list[dict[str, str]]:
        """Chat messages in the order in which the model reads them."""
        return [
            {"role": "system", "content": self.system},
            {"role": "user", "content": self.example},
            {"role": "assistant", "content": self.example_answer},
            {"role": "user", "content": self.user},
        ]


def render_prompt(template: str, values: Mapping[str, Any], version: str = PROMPT_VERSION) -> Prompt:
    """Render the prompt file ``template``.

    Parameters
    ----------
    template
        File name below ``prompts/<version>``; it defines the blocks system, example, example_answer and user.
    values
        Variables of the block ``user``. Their text is data: template syntax in it is not evaluated.
    version
        Version of the prompt files.

    Raises
    ------
    jinja2.UndefinedError
        If the user part names a variable that ``values`` lacks, or a fixed part names any.
    """
    loaded = _template(template, version)
    return Prompt(
        system=_block(loaded, "system", {}),
        example=_block(loaded, "example", {}),
        example_answer=_block(loaded, "example_answer", {}),
        user=_block(loaded, "user", values),
    )


@functools.cache
def _template(name: str, version: str) -> Template:
    folder = files("isrf_pipeline.reasoning").joinpath("prompts", version)
    loader = DictLoader({name: folder.joinpath(name).read_text(encoding="utf-8")})
    environment = SandboxedEnvironment(
        loader=loader,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=False,
    )
    return environment.get_template(name)


def _block(template: Template, block: str, values: Mapping[str, Any]) -> str:
    return "".join(template.blocks[block](template.new_context(dict(values)))).strip()
