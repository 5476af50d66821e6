"""Gathers, renders and writes the report."""

from __future__ import annotations

from pathlib import Path

from isrf_pipeline.report.gathering import gather_figures
from isrf_pipeline.report.page import render_report
from isrf_pipeline.stages.context import StageContext


def write_report(ctx: StageContext, path: Path) -> None:
    """Write the report of the night of ``ctx`` to ``path``, all of it or nothing."""
    text = render_report(gather_figures(ctx))
    partial = path.with_name(f".{path.name}.partial")
    partial.write_text(text, encoding="utf-8")
    partial.replace(path)
