"""Trains what foresees the next item from clients' histories: the sequence model and the generator."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from isrf_pipeline.generator.contents import spread_meaning
from isrf_pipeline.generator.fitting import ItemMeaning, fit_generator
from isrf_pipeline.generator.model import GeneratorModel
from isrf_pipeline.interests.model import InterestModel
from isrf_pipeline.interests.progress import Progress
from isrf_pipeline.sequences.fitting import fit_sequences
from isrf_pipeline.sequences.model import SequenceModel
from isrf_pipeline.stages.context import StageContext

if TYPE_CHECKING:
    from pyspark import Broadcast
    from pyspark.sql import DataFrame


@dataclass(frozen=True)
class EarlierNetworks:
    """Networks as they were before each client's last training event; None where one takes no part."""

    sequence: SequenceModel | None
    generator: GeneratorModel | None


def broadcast_of(ctx: StageContext, model: GeneratorModel | None) -> Broadcast[GeneratorModel] | None:
    """The generator for every task, or None without one."""
    return ctx.spark.sparkContext.broadcast(model) if model is not None else None


def train_sequences(
    ctx: StageContext, histories: DataFrame, model: InterestModel, progress: Progress
) -> tuple[SequenceModel, SequenceModel] | None:
    """The sequence model before each client's last training event and after all; None where it takes no part.

    Parameters
    ----------
    ctx
        The stage optimize.
    histories
        See :func:`isrf_pipeline.interests.histories.coded_histories`; training events only.
    model
        The item model.
    progress
        What a killed run has trained already.
    """
    if "sequence" not in ctx.settings.optimize.scorers or histories.isEmpty():
        return None
    earlier, whole = "sequence before the last events", "sequence"
    if earlier in progress:
        return SequenceModel.from_bytes(progress.get(earlier)), SequenceModel.from_bytes(progress.get(whole))
    meaning = ctx.spark.sparkContext.broadcast(model.embeddings)
    trained = fit_sequences(histories, meaning, ctx.settings.sequence)
    meaning.unpersist()
    # Saved with the first round.
    progress.keep(earlier, trained[0].to_bytes())
    progress.keep(whole, trained[1].to_bytes())
    return trained


def train_generators(
    ctx: StageContext, histories: DataFrame, model: InterestModel, progress: Progress
) -> tuple[GeneratorModel, GeneratorModel] | None:
    """As :func:`train_sequences`, for the generator; saved at once, since it takes longest of all."""
    if "generator" not in ctx.settings.optimize.scorers or histories.isEmpty():
        return None
    earlier, whole = "generator before the last events", "generator"
    if earlier in progress:
        return (
            GeneratorModel.from_bytes(progress.get(earlier)),
            GeneratorModel.from_bytes(progress.get(whole)),
        )
    meaning = ctx.spark.sparkContext.broadcast(
        ItemMeaning(model.embeddings, spread_meaning(model.embeddings, model.semantic))
    )
    fitted = fit_generator(histories, meaning, ctx.settings.generator)
    meaning.unpersist()
    assert fitted.earlier is not None
    progress.keep(earlier, fitted.earlier.to_bytes())
    progress.keep(whole, fitted.whole.to_bytes())
    progress.save()
    return fitted.earlier, fitted.whole
