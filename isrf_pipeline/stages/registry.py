"""The stages of the nightly run in their order; each module is imported only when its stage is asked for."""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Sequence

from isrf_pipeline.errors import UsageError
from isrf_pipeline.stages.context import Stage

#: Names in the order of the nightly run; the module ``isrf_pipeline.stages.<name>`` exports ``STAGE``.
STAGE_NAMES: tuple[str, ...] = (
    "ingest",
    "reason_items",
    "build_interaction_graph",
    "reason_users",
    "build_user_graph",
    "optimize",
    "recommend",
    "evaluate",
    "export",
    "maintain",
)


def load_stage(name: str) -> Stage:
    """Import the stage ``name``.

    Raises
    ------
    UsageError
        If there is no such stage; names the nearest.
    """
    require_stage_name(name)
    stage = importlib.import_module(f"isrf_pipeline.stages.{name}").STAGE
    assert isinstance(stage, Stage)
    return stage


def require_stage_name(name: str, argument: str = "stage") -> None:
    """Refuse a name that is no stage.

    Parameters
    ----------
    name
        What was given.
    argument
        Where it was given, for example ``--from``.

    Raises
    ------
    UsageError
        If there is no such stage; names the nearest.
    """
    if name in STAGE_NAMES:
        return
    near = difflib.get_close_matches(name, STAGE_NAMES, n=1, cutoff=0.5)
    mend = f"did you mean '{near[0]}'" if near else f"the stages are {', '.join(STAGE_NAMES)}"
    raise UsageError(f"{argument} {name}", "is not a stage", mend)


def stage_range(first: str | None, last: str | None, names: Sequence[str] = STAGE_NAMES) -> tuple[str, ...]:
    """Names from ``first`` to ``last``, both included; None is the end of the list.

    Raises
    ------
    UsageError
        If either is no stage, or ``first`` comes after ``last``.
    """
    for name, argument in ((first, "--from"), (last, "--until")):
        if name is not None:
            require_stage_name(name, argument)
    start = names.index(first) if first is not None else 0
    end = names.index(last) if last is not None else len(names) - 1
    if start > end:
        raise UsageError(
            f"--from {first} --until {last}", f"{first} comes after {last} in the nightly run", "swap the two"
        )
    return tuple(names[start : end + 1])
