"""The night's report: figures gathered from the tables, rendered as one HTML file that needs nothing else."""

from isrf_pipeline.report.figures import ReportFigures
from isrf_pipeline.report.gathering import gather_figures
from isrf_pipeline.report.page import render_report
from isrf_pipeline.report.writing import write_report

__all__ = ["ReportFigures", "gather_figures", "render_report", "write_report"]
