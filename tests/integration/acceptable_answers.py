"""An acceptable answer to every step, for tests that need no model."""

from __future__ import annotations

from typing import Any

ANSWERS: dict[str, Any] = {
    "who_for": "People who love quiet things of lasting beauty",
    "who_not_for": "People who prefer loud things",
    "feature": "A thing of quiet beauty for many people",
    "tags": ["quiet", "beauty", "gift"],
    "likes": "Quiet things of lasting beauty",
    "avoids": "Loud things of any kind",
    "interest": "A client who looks for quiet things of lasting beauty",
}
