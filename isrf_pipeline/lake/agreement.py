"""Whether a table of the lake is what its declaration says: an older version of this package, or somebody, wrote it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from isrf_pipeline.errors import InputRefusedError
from isrf_pipeline.lake.schema import Column, Table

if TYPE_CHECKING:
    from pyspark.sql.types import StructType


def lacking_columns(table: Table, there: StructType) -> list[Column]:
    """Declared columns that the table has not got yet, all of which may be null.

    Columns that are not declared do not matter: nothing reads them.

    Parameters
    ----------
    table
        The declaration.
    there
        Columns of the table as it is.

    Raises
    ------
    InputRefusedError
        If a column is lacking that must not be null, or a column has another type than declared.
    """
    types = {field.name: field.dataType.simpleString() for field in there.fields}
    lacking = [column for column in table.columns if column.name not in types]
    required = [column.name for column in lacking if not column.nullable]
    if required:
        raise InputRefusedError(
            table.name,
            f"lacks {', '.join(required)}: it was written by an older version, or somebody changed it",
            "restore a version that has it, or drop the table; the next run writes it whole",
        )
    declared = _declared_types(table)
    changed = [
        f"{name} ({types[name]} in place of {type_})"
        for name, type_ in declared.items()
        if name in types and types[name] != type_
    ]
    if changed:
        raise InputRefusedError(
            table.name,
            f"has other types than this version of the package: {', '.join(changed)}",
            "restore a version from before the change, or drop the table; the next run writes it whole",
        )
    return lacking


def _declared_types(table: Table) -> dict[str, str]:
    from pyspark.sql.types import DataType, StructType

    declared = DataType.fromDDL(table.ddl())
    assert isinstance(declared, StructType)
    return {field.name: field.dataType.simpleString() for field in declared.fields}
