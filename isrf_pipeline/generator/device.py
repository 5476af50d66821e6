"""Where the generator computes."""

from __future__ import annotations

from typing import Any

import torch

from isrf_pipeline.errors import EnvironmentMismatchError


def chosen_device(configured: str) -> Any:
    """The torch device of ``generator.device``; auto is a GPU where there is one.

    Raises
    ------
    EnvironmentMismatchError
        If a GPU is asked for and there is none.
    """
    if configured == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if configured.startswith("cuda") and not torch.cuda.is_available():
        raise EnvironmentMismatchError(
            f"generator.device={configured}", "torch finds no GPU", "set it to auto or cpu"
        )
    return torch.device(configured)
