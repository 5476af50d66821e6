"""Orders the night's rows of ops.metrics into what the report shows."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from isrf_pipeline.report.figures import MeasureTable, ModelScore, RoundFigure

#: (metric, slice) to value.
Measured = Mapping[tuple[str, str], float]

#: Columns of the accuracy table.
ACCURACY = ("HR@5", "NDCG@5", "HR@10", "NDCG@10")
#: The recommender that the report is about; it stands first.
OWN_MODEL = "isrf"

_ROUND = "optimize.round."
_NUMBER = re.compile(r"\d+")


def model_scores(measured: Measured) -> tuple[ModelScore, ...]:
    """Accuracy by recommender from ``evaluate.<model>.<HR@k|NDCG@k>``, slice all: ours first, peers by name."""
    scores: dict[str, dict[str, float]] = {}
    for (metric, slice_), value in measured.items():
        stage, _, rest = metric.partition(".")
        model, _, name = rest.rpartition(".")
        if stage == "evaluate" and name in ACCURACY and slice_ == "all":
            scores.setdefault(model, {})[name] = value
    order = sorted(scores, key=lambda model: (model != OWN_MODEL, model))
    return tuple(ModelScore(model, scores[model]) for model in order)


def optimization_rounds(measured: Measured) -> tuple[RoundFigure, ...]:
    """Measures by round from ``optimize.round.<measure>``, slice ``round=<number>``."""
    rounds: dict[int, dict[str, float]] = {}
    for (metric, slice_), value in measured.items():
        number = slice_.removeprefix("round=")
        if metric.startswith(_ROUND) and number.isdigit():
            rounds.setdefault(int(number), {})[metric.removeprefix(_ROUND)] = value
    return tuple(RoundFigure(number, rounds[number]) for number in sorted(rounds))


def measure_tables(measured: Measured, prefixes: Sequence[str]) -> tuple[MeasureTable, ...]:
    """One table for each of ``prefixes`` that has measures: slices as rows, measures as columns."""
    found = []
    for prefix in prefixes:
        own = {
            (metric.removeprefix(f"{prefix}."), slice_): value
            for (metric, slice_), value in measured.items()
            if metric.startswith(f"{prefix}.")
        }
        if not own:
            continue
        measures = sorted({metric for metric, _ in own})
        slices = sorted({slice_ for _, slice_ in own}, key=_natural)
        rows = tuple((slice_, tuple(own.get((name, slice_)) for name in measures)) for slice_ in slices)
        found.append(MeasureTable(prefix, tuple(measures), rows))
    return tuple(found)


def _natural(text: str) -> tuple[bool, str]:
    """Order in which 'all' comes first and round=10 after round=9."""
    return text != "all", _NUMBER.sub(lambda number: number.group().zfill(12), text)
