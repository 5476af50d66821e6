"""Runs the rounds of optimization on the lake: each one's user graph is stored, measured, and feeds the next."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from isrf_pipeline.alignment.model import ProfileMap
from isrf_pipeline.generator.lists import with_generated
from isrf_pipeline.generator.model import GeneratorModel
from isrf_pipeline.graphs.draw import drawn_clients
from isrf_pipeline.graphs.neighbours import similar_clients
from isrf_pipeline.interests.aligning import group_options, train_alignment, try_alignment
from isrf_pipeline.interests.implicit import group_interest
from isrf_pipeline.interests.inputs import profiles_in_round
from isrf_pipeline.interests.model import InterestModel
from isrf_pipeline.interests.progress import Progress, Round
from isrf_pipeline.interests.propagation import FusionWeights
from isrf_pipeline.interests.ranking import held_out_ndcg
from isrf_pipeline.interests.round_graphs import of_clients, store_round_graph, stored_neighbours
from isrf_pipeline.interests.rounds import Guidance, mean_alignment, mean_neighbour_overlap, with_group
from isrf_pipeline.interests.selection import fusion_options, out_of_patience
from isrf_pipeline.lake import tables
from isrf_pipeline.logs import log_event
from isrf_pipeline.stages.context import StageContext

if TYPE_CHECKING:
    from pyspark import Broadcast
    from pyspark.sql import DataFrame

#: The group's own list, without anything else.
_GROUP_ALONE = FusionWeights(semantic=0.0, implicit=1.0, feedback=0.0, followed=0.0)


@dataclass
class Iteration:
    """The rounds of one night.

    Attributes
    ----------
    ctx
        The stage optimize; it has profiles and the user graph of round 0.
    histories
        user_id, codes, weights, days of all clients; training events only.
    targets
        user_id and target (int: code of the validation item), of the clients who have one.
    model
        Broadcast item model.
    popularity
        (items,) training clients of each item.
    judged_on
        Day since 1970 that validation measures lists of; None: the day of each client's last event.
    generator
        Broadcast generator, or None where it takes no part.
    finished
        Rounds that are done, in their order.
    """

    ctx: StageContext
    histories: DataFrame
    targets: DataFrame
    model: Broadcast[InterestModel]
    popularity: NDArray[np.float32]
    judged_on: int | None = None
    generator: Broadcast[GeneratorModel] | None = None
    finished: list[Round] = field(default_factory=list)

    def __post_init__(self) -> None:
        from pyspark.sql import functions as F

        settings = self.ctx.settings
        self._measurable = not self.targets.isEmpty()
        # Clients on whom rounds are measured; few whatever the lake, so that they may be broadcast.
        judging = (self.targets if self._measurable else self.histories).select("user_id").distinct()
        self._judges = drawn_clients(judging, settings.optimize.validation_clients).persist()
        self._asked = of_clients(self._judges, self.histories).withColumn("excluded", F.col("codes"))
        if self.generator is not None:
            known = self._asked.withColumn("learned", F.size("codes"))
            # Kept, since the search finds the same in every round.
            self._asked = with_generated(known, self.generator).persist()
        self._all_options = fusion_options(settings)
        # Of the newest finished round; of judges only in round 0, of everybody later.
        self._neighbours: DataFrame | None = None

    def run(self, progress: Progress) -> None:
        """Run rounds until validation does not reward them any more, behind those that ``progress`` has."""
        settings = self.ctx.settings
        for number in range(settings.optimize.rounds + 1):
            round_ = Round.kept_in(progress, number)
            if round_ is None:
                round_ = self._next_round(number)
                round_.keep_in(progress)
            self.finished.append(round_)
            log_event("round", round=number, **round_.metrics)
            if out_of_patience(self.results, settings):
                break

    @property
    def _options(self) -> list[FusionWeights]:
        """Weights that the next round may have: all of them in round 0, whose decay the others keep."""
        first = self.finished[0].weights if self.finished else None
        return [option for option in self._all_options if first is None or option.decay == first.decay]

    @property
    def results(self) -> list[tuple[float, int, FusionWeights]]:
        """Validation NDCG@10, number and best weights of each round; empty where nothing can be measured."""
        return [
            (round_.ndcg, round_.number, round_.weights)
            for round_ in self.finished
            if round_.ndcg is not None and round_.weights is not None
        ]

    @property
    def metrics(self) -> dict[tuple[str, str], float]:
        """(metric, slice) to value, for ops.metrics."""
        return {
            (f"round.{name}", f"round={round_.number}"): value
            for round_ in self.finished
            for name, value in round_.metrics.items()
        }

    def alignments(self, chosen_round: int) -> dict[int, ProfileMap]:
        """Maps of profiles up to the chosen round, as far as validation kept them."""
        return {
            round_.number: round_.trained
            for round_ in self.finished[: chosen_round + 1]
            if round_.aligned and round_.trained is not None
        }

    def judged(self, round_: int) -> DataFrame:
        """Inputs of the clients who judge a finished round, with their held-out item as target."""
        neighbours = stored_neighbours(self.ctx, round_, self._judges)
        return self._inputs(neighbours).join(self.targets, "user_id").localCheckpoint()

    def _next_round(self, number: int) -> Round:
        from pyspark.sql import functions as F

        settings = self.ctx.settings
        metrics: dict[str, float] = {}
        trained, aligned = None, False
        if number == 0:
            neighbours = self._neighbours = stored_neighbours(self.ctx, 0, self._judges)
        else:
            before = self._newest_neighbours()
            # Feedback starts with the group of round 1: round 0 is the graph without any guidance.
            fed_back = self._group(before) if number > 1 else None
            trained, aligned, tried = self._align(fed_back)
            metrics |= tried
            neighbours = store_round_graph(
                self.ctx, self._profiles(fed_back, number, trained if aligned else None), number
            )
            self._neighbours = neighbours
            # Broadcast, so that nobody else's neighbours are shuffled for the few that are measured.
            metrics["neighbour_overlap"] = mean_neighbour_overlap(
                F.broadcast(of_clients(self._judges, neighbours, "src")), before
            )
        # Everybody's group interest is needed only where a next round is fed with it.
        inputs = self._inputs(of_clients(self._judges, neighbours, "src")).persist()
        guidance = Guidance(settings.interaction_graph, settings.optimize)
        metrics["alignment"] = mean_alignment(inputs, self.model, guidance)
        ndcg, weights = self._judge(inputs, metrics) if self._measurable else (None, None)
        inputs.unpersist()
        return Round(number, metrics, ndcg, weights, trained, aligned)

    def _judge(self, inputs: DataFrame, metrics: dict[str, float]) -> tuple[float, FusionWeights]:
        """Best value and weights; adds to ``metrics`` what explicit interest and the group reach alone."""
        alone = [_GROUP_ALONE] if "group" in self.ctx.settings.optimize.scorers else []
        options = self._options
        values = self._ndcg(inputs, [*options, *alone])
        best = max(range(len(options)), key=lambda k: values[k])
        metrics["validation_ndcg@10"] = values[best]
        explicit = [
            value
            for value, option in zip(values, options, strict=False)
            if option.implicit == 0 and option.feedback == 0
        ]
        if explicit:
            metrics["validation_ndcg@10_explicit_only"] = max(explicit)
        if alone:
            metrics["validation_ndcg@10_group_only"] = values[-1]
        return values[best], options[best]

    def _align(self, fed_back: DataFrame | None) -> tuple[ProfileMap | None, bool, dict[str, float]]:
        """The trained map, whether profiles are to be mapped by it, and what was measured of it.

        Once switched off it stays off: the next round's would be trained from the same start on nearly the same
        interests.
        """
        settings = self.ctx.settings
        before = self.finished[-1]
        wanted = settings.optimize.alignment.enabled and (before.number == 0 or before.aligned)
        options = group_options(self._options, before.weights) if before.weights is not None else []
        if not wanted:
            return None, False, {}
        if not options:
            log_event("alignment_left_out", reason="there is no validation of the user graph to judge it by")
            return None, False, {"aligned": 0.0}
        found = train_alignment(
            self.histories, self._plain_profiles(), fed_back, before.trained, self.model, settings
        )
        if found is None:
            return None, False, {"aligned": 0.0}
        trial = try_alignment(self._measure(fed_back, options), found.map, settings)
        if not trial.kept:
            log_event("alignment_left_out", with_map=trial.with_map, without_map=trial.without_map)
        return (
            found.map,
            trial.kept,
            {
                "alignment_loss_before": found.loss_before,
                "alignment_loss_after": found.loss_after,
                "validation_ndcg@10_aligned": trial.with_map,
                "validation_ndcg@10_not_aligned": trial.without_map,
                "aligned": float(trial.kept),
            },
        )

    def _measure(
        self, fed_back: DataFrame | None, options: list[FusionWeights]
    ) -> Callable[[ProfileMap | None], list[float]]:
        """See :func:`isrf_pipeline.interests.aligning.try_alignment`: only judges' neighbours are searched."""
        graph = self.ctx.settings.user_graph

        def measure(alignment: ProfileMap | None) -> list[float]:
            # The search reads both sides twice.
            base = self._profiles(fed_back, 1, alignment).persist()
            queries = of_clients(self._judges, base).persist()
            neighbours = similar_clients(queries, base, graph.neighbours, graph)
            values = self._ndcg(self._inputs(neighbours), options)
            base.unpersist()
            queries.unpersist()
            return values

        return measure

    def _ndcg(self, inputs: DataFrame, options: list[FusionWeights]) -> list[float]:
        settings = self.ctx.settings
        return held_out_ndcg(
            inputs.join(self.targets, "user_id"),
            self.model,
            options,
            settings.interaction_graph,
            settings.optimize,
        )

    def _inputs(self, neighbours: DataFrame) -> DataFrame:
        """Judges with the group interest that ``neighbours`` give them."""
        from pyspark.sql import functions as F

        last = F.col("days")[0] if self.judged_on is None else F.lit(self.judged_on)
        return with_group(self._asked, self._group(neighbours)).withColumn("today", last)

    def _profiles(self, fed_back: DataFrame | None, number: int, alignment: ProfileMap | None) -> DataFrame:
        return profiles_in_round(
            self.histories,
            self._plain_profiles(),
            fed_back,
            number,
            self.model,
            self.ctx.settings,
            alignment,
        )

    def _plain_profiles(self) -> DataFrame:
        return self.ctx.read(tables.PROFILES).where("round = 0").select("user_id", "embedding")

    def _newest_neighbours(self) -> DataFrame:
        """Everybody's neighbours in the newest finished round, judges' only in round 0."""
        if self._neighbours is None:
            newest = self.finished[-1].number
            self._neighbours = stored_neighbours(self.ctx, newest, self._judges if newest == 0 else None)
        return self._neighbours

    def _group(self, neighbours: DataFrame) -> DataFrame:
        settings = self.ctx.settings
        return group_interest(
            neighbours,
            self.histories,
            self.popularity,
            settings.user_graph.sharpness,
            settings.recommend.candidates,
        )
