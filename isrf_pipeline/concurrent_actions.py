"""Spark actions that do not need each other, side by side.

Small actions spend most of their time in the driver, planning and committing, on one core: two at a time leave less of
the machine idle.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")


def run_together(*actions: Callable[[], T]) -> list[T]:
    """Run ``actions`` in threads of the driver, each with the caller's local properties.

    Returns
    -------
    list
        Their results, in the order of ``actions``.

    Raises
    ------
    Exception
        The first error in the order of ``actions``, once all of them have ended.
    """
    from pyspark import inheritable_thread_target

    with ThreadPoolExecutor(max(1, len(actions))) as pool:
        futures = [pool.submit(inheritable_thread_target(action)) for action in actions]
    return [future.result() for future in futures]
