"""The lake: declared tables and the one place that reads and writes them."""

from isrf_pipeline.lake.schema import Column, Table
from isrf_pipeline.lake.store import Lake

__all__ = ["Column", "Lake", "Table"]
