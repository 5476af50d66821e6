"""The model as validation chose it: stored by optimize, loaded by whoever computes lists."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from isrf_pipeline.alignment.model import ProfileMap
from isrf_pipeline.errors import MissingTableError
from isrf_pipeline.generator.model import GeneratorModel
from isrf_pipeline.interests.propagation import FusionWeights
from isrf_pipeline.lake import tables
from isrf_pipeline.ranker.model import Ranker
from isrf_pipeline.sequences.model import SequenceModel
from isrf_pipeline.stages.context import StageContext

if TYPE_CHECKING:
    from pyspark.sql import Row

#: Part of the map of a round, followed by its number.
_ALIGNMENT = "alignment "


@dataclass(frozen=True)
class ChosenModel:
    """What lists are computed with beside the graphs.

    Attributes
    ----------
    round
        Round of optimization whose user graph is used.
    weights
        Of the fixed fusion.
    sequence
        The sequence model, or None without one.
    ranker
        The ranker, or None where the fixed fusion ranks.
    alignments
        Maps of profiles by round, up to the chosen one, as far as validation kept them.
    generator
        The generator, or None without one.
    """

    round: int
    weights: FusionWeights
    sequence: SequenceModel | None
    ranker: Ranker | None
    alignments: Mapping[int, ProfileMap] = field(default_factory=dict)
    generator: GeneratorModel | None = None


def store_model(ctx: StageContext, model: ChosenModel, validation_ndcg: float) -> None:
    """Store the night's model.

    Parameters
    ----------
    ctx
        The stage optimize.
    model
        What validation chose.
    validation_ndcg
        NDCG@10 that it reached there, 0 where nothing could be measured.
    """
    weights = model.weights
    row = (
        ctx.run_date,
        model.round,
        weights.implicit,
        weights.semantic,
        weights.feedback,
        weights.sequence,
        weights.followed,
        weights.generator,
        weights.decay,
        "fusion" if model.ranker is None else "ranker",
        validation_ndcg,
    )
    parts = []
    if model.sequence is not None:
        parts.append((ctx.run_date, "sequence", model.sequence.to_bytes()))
    if model.ranker is not None:
        parts.append((ctx.run_date, "ranker", model.ranker.text.encode()))
    if model.generator is not None:
        parts.append((ctx.run_date, "generator", model.generator.to_bytes()))
    parts += [
        (ctx.run_date, f"{_ALIGNMENT}{round_}", alignment.to_bytes())
        for round_, alignment in sorted(model.alignments.items())
    ]
    ctx.write_together(
        (tables.INTEREST_MODEL, ctx.spark.createDataFrame([row], tables.INTEREST_MODEL.ddl())),
        (tables.INTEREST_PARAMETERS, ctx.spark.createDataFrame(parts, tables.INTEREST_PARAMETERS.ddl())),
    )


def load_model(ctx: StageContext) -> ChosenModel:
    """Model that optimize chose for this night, or for the newest night before it.

    Raises
    ------
    MissingTableError
        If there is none.
    """
    from pyspark.sql import functions as F

    row: Row | None = (
        ctx.read(tables.INTEREST_MODEL)
        .where(F.col("run_date") <= F.lit(ctx.run_date))
        .orderBy(F.col("run_date").desc())
        .first()
    )
    if row is None:
        raise MissingTableError(
            tables.INTEREST_MODEL.name,
            f"holds nothing for {ctx.run_date} or before",
            "run the stage optimize first",
        )
    stored = ctx.read(tables.INTEREST_PARAMETERS).where(F.col("run_date") == F.lit(row["run_date"]))
    parts = {part["part"]: bytes(part["content"]) for part in stored.collect()}
    return ChosenModel(
        row["round"],
        FusionWeights(
            row["semantic_weight"],
            row["implicit_weight"],
            row["feedback_weight"],
            row["sequence_weight"],
            row["followed_weight"],
            row["generator_weight"],
            row["history_decay"],
        ),
        SequenceModel.from_bytes(parts["sequence"]) if "sequence" in parts else None,
        Ranker(parts["ranker"].decode()) if "ranker" in parts else None,
        {
            int(name.removeprefix(_ALIGNMENT)): ProfileMap.from_bytes(content)
            for name, content in parts.items()
            if name.startswith(_ALIGNMENT)
        },
        GeneratorModel.from_bytes(parts["generator"]) if "generator" in parts else None,
    )
