"""Rows of ops.metrics become tables, scores and rounds, whatever names later stages add."""

from __future__ import annotations

from isrf_pipeline.report.figures import MeasureTable, ModelScore, RoundFigure
from isrf_pipeline.report.measures import measure_tables, model_scores, optimization_rounds


def test_our_model_comes_first_and_other_measures_of_evaluate_are_no_models() -> None:
    measured = {
        ("evaluate.als.HR@10", "all"): 0.08,
        ("evaluate.isrf.HR@10", "all"): 0.15,
        ("evaluate.isrf.NDCG@10", "all"): 0.09,
        ("evaluate.isrf.HR@10", "history<=3"): 0.02,
        ("evaluate.als.wall_seconds", "fit"): 31.0,
        ("evaluate.isrf.HR@10_over_als", "all"): 0.07,
        ("evaluate.isrf.HR@10_over_als.low", "all"): 0.06,
        ("evaluate.coverage_clients", "all"): 0.99,
    }
    assert model_scores(measured) == (
        ModelScore("isrf", {"HR@10": 0.15, "NDCG@10": 0.09}),
        ModelScore("als", {"HR@10": 0.08}),
    )


def test_rounds_are_ordered_as_numbers() -> None:
    measured = {("optimize.round.alignment", f"round={number}"): number / 10 for number in (10, 2, 0)}
    measured["optimize.round.alignment", "all"] = 1.0
    assert optimization_rounds(measured) == tuple(
        RoundFigure(number, {"alignment": number / 10}) for number in (0, 2, 10)
    )


def test_tables_hold_every_measure_and_slice_that_is_there() -> None:
    measured = {
        ("user_graph.edges", "round=10"): 7.0,
        ("user_graph.edges", "round=9"): 6.0,
        ("user_graph.degree_mean", "all"): 2.5,
        ("user_graphs.other", "all"): 1.0,
    }
    assert measure_tables(measured, ("interaction_graph", "user_graph")) == (
        MeasureTable(
            "user_graph",
            ("degree_mean", "edges"),
            (("all", (2.5, None)), ("round=9", (None, 6.0)), ("round=10", (None, 7.0))),
        ),
    )
