"""Counts tokens with the model's own tokenizer, without the model."""

from __future__ import annotations

import importlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from isrf_pipeline.config.settings import EngineSettings
from isrf_pipeline.environment.model import model_path
from isrf_pipeline.errors import EnvironmentMismatchError
from isrf_pipeline.reasoning.prompts import Message


class TokenCount:
    """Counts the tokens of chats as the model reads them.

    Parameters
    ----------
    settings
        Names the model.

    Raises
    ------
    EnvironmentMismatchError
        If its tokenizer cannot be loaded here.
    """

    def __init__(self, settings: EngineSettings) -> None:
        model = model_path(settings.model)
        if Path(model).is_dir():
            os.environ.setdefault("HF_HUB_OFFLINE", "1")
        try:
            transformers = importlib.import_module("transformers")
            self._tokenizer: Any = transformers.AutoTokenizer.from_pretrained(
                model, **({} if Path(model).is_dir() else {"revision": settings.revision})
            )
        except Exception as error:
            raise EnvironmentMismatchError(
                f"tokenizer of {settings.model}",
                f"cannot be loaded on the driver ({type(error).__name__})",
                "run make setup, or put the model's tokenizer files where the driver reaches them",
            ) from error

    def __call__(self, chats: Sequence[list[Message]]) -> list[int]:
        """Tokens of each chat, with the turn that the model is to fill opened."""
        texts = [
            self._tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True)
            for chat in chats
        ]
        return [len(ids) for ids in self._tokenizer(texts, add_special_tokens=False)["input_ids"]]
