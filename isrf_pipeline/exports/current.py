"""Which night the star schema's readers are to see."""

from __future__ import annotations

from isrf_pipeline.lake import Lake, bi_tables
from isrf_pipeline.lake.existing import delta_table
from isrf_pipeline.publication.record import current_night


def mark_current_night(lake: Lake) -> None:
    """Let dim_night name the current night of gold.publications in one commit; nothing happens without dim_night."""
    from pyspark.sql import functions as F

    if not lake.exists(bi_tables.DIM_NIGHT):
        return
    # An older version's table has no such column yet.
    lake.create(bi_tables.DIM_NIGHT)
    night = current_night(lake)
    current = F.col("run_date") == F.lit(night) if night is not None else F.lit(False)
    wrong = F.col("is_current").isNull() | (F.col("is_current") != current)
    delta_table(lake, bi_tables.DIM_NIGHT).update(wrong, {"is_current": current})
