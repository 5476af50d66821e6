"""What leaves the lake each night: a CRM file, a BI folder and their manifest, replaced as a whole."""

from isrf_pipeline.exports.bi import bi_rows
from isrf_pipeline.exports.crm import crm_rows
from isrf_pipeline.exports.folder import export_folder, replaced_folder
from isrf_pipeline.exports.manifest import ExportedFile, write_manifest
from isrf_pipeline.exports.writing import write_csv_file, write_parquet_folder

__all__ = [
    "ExportedFile",
    "bi_rows",
    "crm_rows",
    "export_folder",
    "replaced_folder",
    "write_csv_file",
    "write_manifest",
    "write_parquet_folder",
]
