"""Settings of what leaves the lake each night."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator

from isrf_pipeline.config.section import Section

#: Declared in :mod:`isrf_pipeline.exports.profiles`.
ExportProfileName = Literal["crm_csv", "crm_jsonl", "sfmc", "braze", "klaviyo", "klaviyo_csv"]
BiFormat = Literal["parquet", "delta"]

_DEFAULT_PROFILES: tuple[ExportProfileName, ...] = ("crm_csv", "crm_jsonl")
_DEFAULT_BI: tuple[BiFormat, ...] = ("parquet", "delta")


class ExportSettings(Section):
    """Files for CRM and BI."""

    directory: str | None = Field(default=None, description="Where files go; None is <lake root>/exports.")
    profiles: list[ExportProfileName] = Field(
        default_factory=lambda: [*_DEFAULT_PROFILES],
        description="Which files for a CRM or a marketing platform are written; docs/exports.md describes each.",
    )
    crm_recommendations: int = Field(
        default=3, ge=1, le=20, description="Recommendations of a client in these files."
    )
    require_consent: bool = Field(
        default=True, description="Only clients with marketing consent reach these files and audiences.csv."
    )
    max_file_mb: int | None = Field(
        default=None,
        ge=1,
        description="No such file is larger, in millions of bytes; more rows go to further numbered files. Empty: only "
        "the limits of the platforms hold.",
    )
    bi: list[BiFormat] = Field(
        default_factory=lambda: [*_DEFAULT_BI],
        description="As what the star schema for BI is written: Parquet files beside the others, Delta tables bi.* of "
        "the lake.",
    )
    example_clients: int = Field(default=6, ge=1, le=50, description="Client examples in the report.")

    @field_validator("profiles", "bi")
    @classmethod
    def _each_once(cls, names: list[str]) -> list[str]:
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"{name} must be named once")
        return names
