"""Nightly recommendations from explicit and implicit interests: Spark, Delta, GraphFrames and a language model.

Packages are named after the problem: ``reasoning``, ``graphs``, ``interests``, ``generator``, ``evaluation``,
``exports``, ``lake``. Nothing here imports Spark, torch or vLLM: those are loaded where they are used.
"""

__version__ = "0.1.0"

__all__ = ["__version__"]
