"""Whether a stored table has the declared columns: somebody else, or an older version, may have changed them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from isrf_pipeline.errors import InputRefusedError
from isrf_pipeline.lake.schema import Column, Table

if TYPE_CHECKING:
    from pyspark.sql.types import StructType

_MEND = (
    "restore the version before that change (RESTORE TABLE, see docs/runbook.md), "
    "or drop the table if the next night writes it whole"
)


def lacking_columns(table: Table, stored: StructType) -> list[Column]:
    """Declared columns that a stored table lacks; others that it has are of no interest.

    Parameters
    ----------
    table
        Declaration of the table.
    stored
        Schema of the table as it is.

    Raises
    ------
    InputRefusedError
        If a column has another type than the declared one, or lacks and must not be null.
    """
    types = {field.name: field.dataType.simpleString() for field in stored.fields}
    other = [
        f"{column.name} is {types[column.name]} and not {column.type}"
        for column in table.columns
        if column.name in types and types[column.name] != column.type.replace(" ", "").lower()
    ]
    if other:
        raise InputRefusedError(table.name, f"was changed: {', '.join(other)}", _MEND)
    lacking = [column for column in table.columns if column.name not in types]
    required = [column.name for column in lacking if not column.nullable]
    if required:
        raise InputRefusedError(table.name, f"lacks {', '.join(required)}, which may not be null", _MEND)
    return lacking
