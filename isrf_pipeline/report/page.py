"""Renders the report: figures in, one HTML page out that loads nothing and runs nothing."""

from __future__ import annotations

from importlib import resources

from jinja2 import Environment, FunctionLoader, StrictUndefined
from markupsafe import Markup

from isrf_pipeline.report import formatting as fmt
from isrf_pipeline.report.charts import line_chart, link_curves, link_letters
from isrf_pipeline.report.figures import ReportFigures
from isrf_pipeline.report.headline import (
    accuracy_sentence,
    change_words,
    changes_sentence,
    failures,
    headline,
)
from isrf_pipeline.report.measures import ACCURACY, OWN_MODEL

#: Measures of a round that are drawn: name in ops.metrics, title, what it tells, how its values are written.
_ROUND_CHARTS = (
    (
        "validation_ndcg@10",
        "Accuracy on validation",
        "NDCG@10 of each client's validation event",
        fmt.decimal,
    ),
    ("alignment", "Alignment", "How far a client's own and group interest point the same way", fmt.measure),
    (
        "neighbour_overlap",
        "Neighbour overlap",
        "Share of similar clients kept from the round before",
        fmt.percent,
    ),
)


def render_report(figures: ReportFigures) -> str:
    """Render the page.

    All text from tables is escaped: titles and answers come from outside. The same figures give the same page.

    Parameters
    ----------
    figures
        What to show; sections without figures say so in a sentence or are left out.

    Returns
    -------
    str
        A complete HTML document.
    """
    environment = Environment(
        loader=FunctionLoader(_template),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        number=fmt.count,
        compact=fmt.compact,
        percent=fmt.percent,
        whole_percent=fmt.whole_percent,
        decimal=fmt.decimal,
        measure=fmt.measure,
        seconds=fmt.seconds,
        weight=fmt.weight,
        day=fmt.day,
        short_day=fmt.short_day,
        words=fmt.words,
        change_words=change_words,
        model_name=fmt.model_name,
        origin_name=fmt.origin_name,
    )
    return environment.get_template("report.html.j2").render(
        f=figures,
        style=Markup(_resource("style.css")),
        headline=headline(figures),
        accuracy=accuracy_sentence(figures),
        changes=changes_sentence(figures),
        failures=failures(figures),
        accuracy_columns=ACCURACY,
        own_model=OWN_MODEL,
        round_charts=_round_charts(figures),
        link_curves=link_curves,
        link_letters=link_letters,
    )


def _round_charts(figures: ReportFigures) -> list[tuple[str, str, Markup]]:
    """(title, what it tells, drawing) of each measure that any round has."""
    charts = []
    for place, (name, title, meaning, written) in enumerate(_ROUND_CHARTS):
        points = [
            (f"round {round_.round}", round_.values[name])
            for round_ in figures.rounds
            if name in round_.values
        ]
        if points:
            charts.append((title, meaning, line_chart(f"round-{place}", title, points, written)))
    return charts


def _template(name: str) -> str:
    return _resource(f"templates/{name}")


def _resource(name: str) -> str:
    # Through the import system, so that it also works from a wheel that Spark put on the path unopened.
    return resources.files("isrf_pipeline.report").joinpath(name).read_text(encoding="utf-8")
