"""Arithmetic on columns of vectors, in Spark functions."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pyspark.sql import Column


def unit_sum(first: Column, second: Column, weight: float) -> Column:
    """Unit vector of ``first + weight * second``.

    Parameters
    ----------
    first, second
        array<float> of one length.
    weight
        Weight of the second.
    """
    from pyspark.sql import functions as F

    total = F.zip_with(first, second, lambda a, b: a.cast("double") + b * F.lit(weight))
    norm = F.sqrt(F.aggregate(total, F.lit(0.0), lambda acc, x: acc + x * x))
    # Within a lambda the norm would be computed again for every element: 384 times a vector.
    norms = F.array_repeat(norm, F.size(first))
    return F.zip_with(total, norms, lambda x, n: F.try_divide(x, n)).cast("array<float>")
