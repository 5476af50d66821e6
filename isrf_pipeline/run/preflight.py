"""What later stages would refuse, refused before the first one begins: a mistake in a brief costs seconds, no night."""

from __future__ import annotations

import datetime
from collections.abc import Collection

from isrf_pipeline.config import Settings


def require_feasible(settings: Settings, run_date: datetime.date, stage_names: Collection[str]) -> None:
    """Refuse what is known, without Spark and without the lake, to stop one of the stages.

    Parameters
    ----------
    settings
        Of the run.
    run_date
        The night.
    stage_names
        The stages that are to run.

    Raises
    ------
    ConfigurationError
        If a brief is not what a brief must be, or files would have to go where none can be written.
    EnvironmentMismatchError
        If a peer's package is not installed.
    """
    # What stages import: commands that run none should not wait for it.
    from isrf_pipeline.campaigns.loading import load_briefs
    from isrf_pipeline.evaluation.peers import require_packages
    from isrf_pipeline.exports import export_folder

    if "recommend" in stage_names:
        load_briefs(settings.campaigns.briefs)
    if "evaluate" in stage_names:
        require_packages(settings.evaluation.peers)
    if "export" in stage_names:
        export_folder(settings, run_date)
