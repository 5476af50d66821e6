"""Renders the versioned prompt files: fixed instructions and example first, the subject's own data last.

The fixed part takes no variables, so that the engine computes it once and finds it in its prefix cache afterwards.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from jinja2 import DictLoader, StrictUndefined, Template
from jinja2.sandbox import SandboxedEnvironment

#: Folder of the prompt files in use; a change of wording is a new version.
PROMPT_VERSION = "v2"

#: One turn of a chat: role and content.
Message = dict[str, str]
#: What of a bad answer is shown to the model again; a grammar that looped may have filled all its room.
_SHOWN_CHARS = 600
#: Markers such as [INST] and [/INST]; a JSON array of texts is none.
_BRACKETED_MARKER = re.compile(r"\[(/?\w+)\]")


@dataclass(frozen=True)
class Prompt:
    """One rendered prompt.

    Attributes
    ----------
    system
        Instructions, the same for all subjects of a step.
    examples
        Worked examples, question and answer, as the chat's first turns, the same for all subjects. Small models follow
        an example better than an instruction; where the question is hard, they give back a single one word for word.
    user
        The subject's own data.
    """

    system: str
    examples: tuple[tuple[str, str], ...]
    user: str

    def messages(self) -> list[Message]:
        """Chat messages in the order in which the model reads them."""
        turns = [{"role": "system", "content": self.system}]
        for question, answer in self.examples:
            turns += [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
        return [*turns, {"role": "user", "content": self.user}]

    def texts(self) -> list[str]:
        """All that the model reads, one text a turn."""
        return [message["content"] for message in self.messages()]


def render_prompt(template: str, values: Mapping[str, Any], version: str = PROMPT_VERSION) -> Prompt:
    """Render the prompt file ``template``.

    Parameters
    ----------
    template
        File name below ``prompts/<version>``; it defines the blocks system, example, example_answer and user, and may
        define second_example and second_example_answer.
    values
        Variables of the block ``user``. Their text is data: template syntax in it is not evaluated, and it holds no
        marker of a chat template any more.
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
        examples=tuple(
            (_block(loaded, name, {}), _block(loaded, f"{name}_answer", {}))
            for name in ("example", "second_example")
            if name in loaded.blocks
        ),
        user=_without_markers(_block(loaded, "user", values)),
    )


def example_answer(template: str, version: str = PROMPT_VERSION) -> str:
    """Answer of the first worked example of a prompt file: JSON of the step's schema."""
    return _block(_template(template, version), "example_answer", {})


def repair_turns(answer: str, error: str, version: str = PROMPT_VERSION) -> list[Message]:
    """Turns that follow a bad answer: the answer itself, and what is wrong with it.

    Parameters
    ----------
    answer
        Raw text; its beginning is shown.
    error
        One line.
    version
        Version of the prompt files.
    """
    asked = _block(_template("repair.j2", version), "user", {"error": error})
    return [
        {"role": "assistant", "content": _without_markers(answer[:_SHOWN_CHARS])},
        {"role": "user", "content": _without_markers(asked)},
    ]


def _without_markers(text: str) -> str:
    """``text`` with no marker of a chat template in it.

    A tokenizer makes a control token of every <|im_start|>, <filename> or [INST] in a chat, whoever wrote it, and with
    one a title could open a turn of its own. Only what opens a marker is replaced: to take whole markers out could
    leave new ones, as <|im_<|x|>start|> does.
    """
    return _BRACKETED_MARKER.sub(r"(\1)", text.replace("<", "‹"))


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
