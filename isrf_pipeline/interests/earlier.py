"""What was known before each client's last training event: the ranker learns to foresee that event from it.

Every statistic is built anew without these events, so that nothing the ranker learns from has seen its label.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from isrf_pipeline.alignment.model import ProfileMap
from isrf_pipeline.config import Settings
from isrf_pipeline.generator.lists import with_generated
from isrf_pipeline.generator.model import GeneratorModel
from isrf_pipeline.graphs.draw import drawn_clients
from isrf_pipeline.graphs.neighbours import similar_clients
from isrf_pipeline.interests.aligning import train_alignment
from isrf_pipeline.interests.histories import item_popularity
from isrf_pipeline.interests.implicit import group_interest
from isrf_pipeline.interests.inputs import ReferenceClients, group_after_rounds, profiles_in_round
from isrf_pipeline.interests.model import InterestModel
from isrf_pipeline.interests.propagation import history_matrix
from isrf_pipeline.interests.rounds import PROFILE_SCHEMA, with_group
from isrf_pipeline.ranker.facts import past_sales
from isrf_pipeline.sequences.model import SequenceModel

if TYPE_CHECKING:
    from pyspark import Broadcast
    from pyspark.sql import DataFrame
    from scipy import sparse


@dataclass(frozen=True)
class EarlierKnowledge:
    """The state before each client's last training event.

    Attributes
    ----------
    model
        Broadcast item model of that state.
    inputs
        Clients that the ranker learns from: user_id, codes, weights, group_codes, group_values, excluded, today and
        target (int: code of the item that came next).
    """

    model: Broadcast[InterestModel]
    inputs: DataFrame


def earlier_histories(histories: DataFrame) -> DataFrame:
    """Histories without their newest item, which becomes the column target; clients with one item are left out.

    Parameters
    ----------
    histories
        user_id, codes, weights, days, newest first.
    """
    from pyspark.sql import functions as F

    rest = F.size("codes") - 1
    return histories.where(rest > 0).select(
        "user_id",
        *(F.slice(name, F.lit(2), rest).alias(name) for name in ("codes", "weights", "days")),
        F.col("codes")[0].alias("target"),
    )


def earlier_model(
    model: InterestModel,
    histories: DataFrame,
    followed: sparse.csr_matrix,
    sequence: SequenceModel | None,
) -> InterestModel:
    """The item model as it was: its edges, popularity and sales out of ``histories``; meaning does not change.

    Parameters
    ----------
    model
        The item model of all training events.
    histories
        See :func:`earlier_histories`.
    followed
        Item-item edges learned from them.
    sequence
        Sequence model trained on them.
    """
    assert model.facts is not None
    popularity = item_popularity(histories, model.n_items)
    facts = dataclasses.replace(model.facts, sales=past_sales(histories, model.n_items))
    return dataclasses.replace(
        model, followed=followed, popularity=popularity, sequence=sequence, facts=facts
    )


def earlier_knowledge(
    histories: DataFrame,
    model: Broadcast[InterestModel],
    chosen_round: int,
    settings: Settings,
    aligned_rounds: Collection[int] = (),
    generator: Broadcast[GeneratorModel] | None = None,
) -> EarlierKnowledge:
    """Inputs of the clients that the ranker learns from, after the rounds that validation chose.

    Clients are compared by their items alone: interest texts were written from all training events. Maps of profiles
    are trained anew for the same reason: those of the rounds have seen the labels.

    Parameters
    ----------
    histories
        See :func:`earlier_histories`.
    model
        See :func:`earlier_model`, broadcast.
    chosen_round
        Round of optimization whose group interest is used.
    settings
        Of the run.
    aligned_rounds
        Rounds in which validation kept the map of profiles.
    generator
        Trained on ``histories``, broadcast; None where it takes no part.
    """
    from pyspark.sql import functions as F

    everybody = _plain_profiles(histories, model, settings.user_graph.history_decay).persist()

    graph = settings.user_graph
    profiles = {0: everybody}
    alignments: dict[int, ProfileMap] = {}
    trained: ProfileMap | None = None
    fed_back = None
    for round_ in range(1, chosen_round + 1):
        if round_ > 1:
            before = profiles[round_ - 1]
            neighbours = similar_clients(before, before, graph.neighbours, graph)
            fed_back = group_interest(
                neighbours, histories, model.value.popularity, graph.sharpness, settings.recommend.candidates
            ).persist()
        if round_ in aligned_rounds:
            found = train_alignment(histories, everybody, fed_back, trained, model, settings)
            if found is not None:
                alignments[round_] = trained = found.map
        profiles[round_] = profiles_in_round(
            histories, everybody, fed_back, round_, model, settings, alignments.get(round_)
        ).persist()

    drawn = drawn_clients(histories, settings.ranker.clients).localCheckpoint()
    group = group_after_rounds(
        drawn,
        everybody.join(drawn.select("user_id"), "user_id", "left_semi"),
        ReferenceClients(histories, profiles.__getitem__),
        chosen_round,
        model,
        settings,
        alignments,
    )
    asked = drawn.withColumn("excluded", F.col("codes"))
    if generator is not None:
        asked = with_generated(asked.withColumn("learned", F.size("codes")), generator)
    inputs = with_group(asked, group).withColumn("today", F.col("days")[0])
    return EarlierKnowledge(model, inputs)


def _plain_profiles(histories: DataFrame, model: Broadcast[InterestModel], decay: float) -> DataFrame:
    """Unit profiles out of coded histories; see :func:`isrf_pipeline.graphs.profiles.history_profiles`."""

    def mean(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        items = model.value
        for batch in batches:
            lengths = np.diff(batch.column("codes").offsets.to_numpy())
            mixture = history_matrix(
                batch.column("codes"),
                batch.column("weights"),
                items.n_items,
                decay,
                int(lengths.max(initial=1)),
            )
            vectors = mixture @ items.embeddings
            norms = np.linalg.norm(vectors, axis=1)
            kept = norms > 0
            vectors = (vectors[kept] / norms[kept, None]).astype(np.float32)
            offsets = np.arange(len(vectors) + 1, dtype=np.int32) * items.embeddings.shape[1]
            yield pa.RecordBatch.from_arrays(
                [
                    batch.column("user_id").filter(pa.array(kept)),
                    pa.ListArray.from_arrays(pa.array(offsets.astype(np.int32)), pa.array(vectors.ravel())),
                ],
                names=["user_id", "embedding"],
            )

    return histories.select("user_id", "codes", "weights").mapInArrow(mean, PROFILE_SCHEMA)
