"""The folder that holds what the set-up prepared for this machine."""

from __future__ import annotations

import os
import sys
from pathlib import Path


def isrf_home() -> Path:
    """Folder of jars, models and logs: the variable ``ISRF_HOME``, else ``isrf`` in the Python environment."""
    moved = os.environ.get("ISRF_HOME")
    return Path(moved) if moved else Path(sys.prefix) / "isrf"
