"""Chooses what carries conversations to a model: an engine in the worker, a pool of servers, recorded answers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from isrf_pipeline.config.settings import ReasoningSettings
from isrf_pipeline.errors import UsageError
from isrf_pipeline.reasoning.conversation import Backend

#: Gives a worker process its backend.
BackendFactory = Callable[[ReasoningSettings], Backend]


def backend_of_this_process(settings: ReasoningSettings) -> Backend:
    """Return the configured backend; an engine is started if this process has none yet.

    Raises
    ------
    EnvironmentMismatchError
        If what the backend needs is not installed.
    ReasoningError
        If it does not start.
    """
    if settings.backend == "server":
        from isrf_pipeline.reasoning.server import ServerPool

        return ServerPool(settings)
    if settings.backend == "replay":
        from isrf_pipeline.reasoning.replay import RecordedAnswers

        assert settings.replay.path is not None
        return RecordedAnswers(Path(settings.replay.path))
    from isrf_pipeline.reasoning.engine import engine_of_this_process

    return engine_of_this_process(settings.engine)


def require_backend(settings: ReasoningSettings) -> None:
    """Say before any work what the configured backend lacks.

    Raises
    ------
    UsageError
        If no server is named, or no recording, or the recording is not there.
    """
    if settings.backend == "server" and not settings.server.urls:
        raise UsageError(
            "reasoning.server.urls",
            "names no server, and reasoning.backend is server",
            "name at least one, such as http://localhost:8000/v1",
        )
    if settings.backend == "replay":
        path = settings.replay.path
        if path is None or not Path(path).is_file():
            raise UsageError(
                f"reasoning.replay.path {path}",
                "is no file, and reasoning.backend is replay",
                "name a file of recorded answers, as isrf answers writes it",
            )
