"""What optimization has finished so far: a run that was killed goes on behind its last whole round.

Parts are kept under a fingerprint of all they were computed from. Rounds write the tables of profiles and of the user
graph that they also read, so their commits bear a note, and the fingerprint takes the newest version without it: who
rebuilds the user graph, erases a client or runs with other settings starts anew.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from isrf_pipeline import __version__
from isrf_pipeline.alignment.model import ProfileMap
from isrf_pipeline.interests.propagation import FusionWeights
from isrf_pipeline.lake import tables
from isrf_pipeline.logs import log_event
from isrf_pipeline.stages.context import StageContext

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

_INPUTS = (tables.INTERACTIONS, tables.ITEMS, tables.ITEM_FEATURES, tables.EDGES)
#: Settings that change nothing of what is kept.
_ELSEWHERE = {"environment", "lake", "spark", "campaigns", "export", "evaluation", "gates", "maintenance"}


class Progress:
    """Parts that this run, or the killed one before it, has finished.

    Parameters
    ----------
    ctx
        The stage optimize.
    fingerprint
        Of everything that parts are computed from.
    parts
        Finished parts by name.
    """

    def __init__(self, ctx: StageContext, fingerprint: str, parts: dict[str, bytes]) -> None:
        self._ctx = ctx
        self._fingerprint = fingerprint
        self._parts = parts
        self._unsaved: dict[str, bytes] = {}

    @classmethod
    def open(cls, ctx: StageContext) -> Progress:
        """Parts of a run on the same inputs that did not come to its end; those of any other run are removed."""
        from pyspark.sql import functions as F

        fingerprint = _fingerprint(ctx)
        if not ctx.lake.exists(tables.PROGRESS):
            return cls(ctx, fingerprint, {})
        kept = ctx.lake.read(tables.PROGRESS)
        parts = {
            row["part"]: bytes(row["content"])
            for row in kept.where(F.col("fingerprint") == fingerprint).collect()
        }
        if parts:
            log_event("optimize_resumed", parts=sorted(parts))
        elif not kept.isEmpty():
            ctx.lake.overwrite(tables.PROGRESS, _no_rows(ctx))
        return cls(ctx, fingerprint, parts)

    def __contains__(self, part: str) -> bool:
        """Whether ``part`` is finished."""
        return part in self._parts

    def get(self, part: str) -> bytes:
        """Content of a finished part."""
        return self._parts[part]

    def keep(self, part: str, content: bytes) -> None:
        """Note that ``part`` is finished; it survives the run with the next :meth:`save`."""
        self._parts[part] = self._unsaved[part] = content

    def save(self) -> None:
        """Write what was kept since the last time, in one commit."""
        rows = [(self._fingerprint, part, content) for part, content in self._unsaved.items()]
        if rows:
            self._ctx.lake.append(
                tables.PROGRESS, self._ctx.spark.createDataFrame(rows, tables.PROGRESS.ddl())
            )
        self._unsaved = {}

    def clear(self) -> None:
        """Forget all parts: the run has come to its end."""
        self._ctx.lake.overwrite(tables.PROGRESS, _no_rows(self._ctx))
        self._parts, self._unsaved = {}, {}


def _fingerprint(ctx: StageContext) -> str:
    read_from = {
        "code": __version__,
        "settings": ctx.settings.model_dump(mode="json", exclude=_ELSEWHERE),
        "versions": {table.name: ctx.lake.version(table) for table in _INPUTS}
        | {
            table.name: ctx.lake.version_without(table, tables.ROUND_NOTE, tables.MAINTENANCE_NOTE)
            for table in tables.REBUILT_IN_ROUNDS
        },
    }
    return hashlib.sha256(json.dumps(read_from, sort_keys=True).encode()).hexdigest()


def _no_rows(ctx: StageContext) -> DataFrame:
    return ctx.spark.createDataFrame([], tables.PROGRESS.ddl())


@dataclass(frozen=True)
class Round:
    """One finished round.

    Attributes
    ----------
    number
        Of the round; 0 is the user graph without any guidance.
    metrics
        What was measured, by name.
    ndcg, weights
        Validation NDCG@10 with the best weights, and these; None where no client has a validation event.
    trained
        Map of profiles as it was trained up to here, or None.
    aligned
        Whether this round's profiles are mapped by it.
    """

    number: int
    metrics: dict[str, float]
    ndcg: float | None
    weights: FusionWeights | None
    trained: ProfileMap | None = None
    aligned: bool = False

    def keep_in(self, progress: Progress) -> None:
        """Make the round survive the run."""
        facts = {
            "metrics": self.metrics,
            "ndcg": self.ndcg,
            "weights": dataclasses.asdict(self.weights) if self.weights is not None else None,
            "aligned": self.aligned,
        }
        progress.keep(f"round {self.number}", json.dumps(facts).encode())
        if self.trained is not None:
            progress.keep(f"map {self.number}", self.trained.to_bytes())
        progress.save()

    @classmethod
    def kept_in(cls, progress: Progress, number: int) -> Round | None:
        """Round that this run or the killed one before it has finished."""
        if f"round {number}" not in progress:
            return None
        facts = json.loads(progress.get(f"round {number}"))
        weights = FusionWeights(**facts["weights"]) if facts["weights"] is not None else None
        trained = (
            ProfileMap.from_bytes(progress.get(f"map {number}")) if f"map {number}" in progress else None
        )
        return cls(number, facts["metrics"], facts["ndcg"], weights, trained, facts["aligned"])
