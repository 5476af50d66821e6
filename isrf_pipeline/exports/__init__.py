"""What leaves the lake each night: files for CRM, a star schema for BI and their manifest, replaced as a whole."""

from isrf_pipeline.exports.crm import audience_rows, client_lists
from isrf_pipeline.exports.folder import export_folder, point_to_current, replaced_folder
from isrf_pipeline.exports.lines import profile_lines, rejected_rows
from isrf_pipeline.exports.manifest import ExportedFile, write_manifest
from isrf_pipeline.exports.profiles import Profile, profile
from isrf_pipeline.exports.star import NightTables, star_frames
from isrf_pipeline.exports.writing import write_parquet_folder, write_profile

__all__ = [
    "ExportedFile",
    "NightTables",
    "Profile",
    "audience_rows",
    "client_lists",
    "export_folder",
    "point_to_current",
    "profile",
    "profile_lines",
    "rejected_rows",
    "replaced_folder",
    "star_frames",
    "write_manifest",
    "write_parquet_folder",
    "write_profile",
]
