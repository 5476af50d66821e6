"""Settings of the stage maintain: what is compacted, cleaned and how long things are kept."""

from __future__ import annotations

from pydantic import Field

from isrf_pipeline.config.section import Section


class MaintenanceSettings(Section):
    """The stage maintain, the last of a night."""

    enabled: bool = Field(default=True, description="Whether the stage does anything.")
    after_commits: int = Field(
        default=30,
        ge=1,
        description="A table is compacted and vacuumed when it has got so many commits since the last time.",
    )
    target_file_mb: int = Field(
        default=128, ge=1, le=1024, description="Size of the files that small files are compacted into."
    )
    vacuum_hours: int = Field(
        default=168,
        ge=24,
        description="Files that no version needs any more are kept for so many hours: a query that began before a "
        "write still reads them.",
    )
    log_days: int = Field(
        default=30, ge=1, description="Days for which Delta keeps the log of earlier versions of a table."
    )
    gold_nights: int = Field(
        default=60,
        ge=7,
        description="Newest nights kept in the gold tables; rollback reaches no further back.",
    )
    model_nights: int = Field(
        default=30, ge=2, description="Newest nights kept in interests.model and interests.parameters."
    )
    quarantine_nights: int = Field(default=30, ge=1, description="Newest nights kept in silver.quarantine.")
    ops_days: int = Field(
        default=400, ge=30, description="Days before the night for which ops.runs and ops.metrics are kept."
    )
    export_nights: int = Field(default=60, ge=1, description="Newest nights whose export folders are kept.")
    run_log_days: int = Field(
        default=90, ge=1, description="Days before the night for which the run logs below the lake are kept."
    )
