"""The report of a night that its gates have stopped: for those who must find out why."""

from __future__ import annotations

from isrf_pipeline.errors import ConfigurationError
from isrf_pipeline.exports.folder import export_folder
from isrf_pipeline.logs import log_event
from isrf_pipeline.report.writing import write_report
from isrf_pipeline.stages.context import StageContext


def write_stopped_report(ctx: StageContext) -> None:
    """Write ``stopped/<run_date>.html`` beside the folders of the published nights, where no loader looks."""
    try:
        path = export_folder(ctx.settings, ctx.run_date).parent / "stopped" / f"{ctx.run_date}.html"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_report(ctx, path)
    except (ConfigurationError, OSError) as error:
        # What stopped the night matters more than where its page could not be written.
        log_event("stopped_report_not_written", error=str(error))
        return
    log_event("stopped_report", path=str(path))
