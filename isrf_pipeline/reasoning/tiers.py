"""Whom the model is asked about by the configured tier of clients: the same for a run and for its plan."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from isrf_pipeline.lake.tables import CLIENTS, ITEMS
from isrf_pipeline.reasoning.prototypes import newest_segments, prototype_subjects
from isrf_pipeline.reasoning.users import client_value, user_subjects
from isrf_pipeline.stages.context import StageContext

if TYPE_CHECKING:
    from pyspark.sql import DataFrame


@dataclass(frozen=True)
class ClientSubjects:
    """Subjects of one tier.

    Attributes
    ----------
    subjects
        subject, priority, input; a subject is a client, or a segment where ``segments`` is given.
    segments
        user_id, segment_id: whose text a segment's answer is; None where each client speaks for himself.
    only_changed
        Whether an unchanged history keeps an answer of another model.
    """

    subjects: DataFrame
    segments: DataFrame | None = None
    only_changed: bool = False


def client_subjects(
    ctx: StageContext, training: DataFrame, choices: DataFrame, lines: DataFrame
) -> ClientSubjects | None:
    """Subjects of the configured tier; None for prototypes while no earlier night has segments.

    Parameters
    ----------
    ctx
        The stage.
    training
        Training events.
    choices
        See :func:`isrf_pipeline.reasoning.users.newest_choices`.
    lines
        See :func:`isrf_pipeline.reasoning.users.item_lines`.
    """
    users = ctx.settings.reasoning.users
    if users.tier == "prototypes":
        segments = newest_segments(ctx)
        if segments is None:
            return None
        return ClientSubjects(prototype_subjects(training, lines, segments, users.newest_items), segments)
    value = client_value(training, ctx.read(ITEMS)) if users.order == "value" else None
    subjects = user_subjects(choices, lines, ctx.read(CLIENTS), users.attributes, value)
    return ClientSubjects(subjects, only_changed=users.tier == "changed")
