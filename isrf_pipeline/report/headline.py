"""The sentences at the head of the report: what a reader who reads nothing else should know."""

from __future__ import annotations

import re

from isrf_pipeline.report import formatting as fmt
from isrf_pipeline.report.figures import NamedCount, ReportFigures
from isrf_pipeline.report.measures import OWN_MODEL

_HEADLINE_METRIC = "HR@10"
#: Nouns in the names of what has changed.
_PLURAL = re.compile(r"\b(article|client|consent|event|price)s\b")


def headline(figures: ReportFigures) -> str:
    """One sentence on who was served."""
    if not figures.recommendations:
        return "No recommendations were written for this night."
    each = figures.recommendations / figures.clients_served
    ideas = f"{each:.0f}" if each >= 9.5 else f"{each:.1f}".removesuffix(".0")
    noun = "recommendation" if ideas == "1" else "recommendations"
    whom = (
        f"All {fmt.count(figures.clients)}"
        if figures.clients_served == figures.clients
        else f"{fmt.count(figures.clients_served)} of {fmt.count(figures.clients)}"
    )
    in_segments = f" across {fmt.count(figures.segment_count)} segments" if figures.segment_count > 1 else ""
    return f"{whom} clients{in_segments} have {ideas} {noun} each, every one with its reason."


def accuracy_sentence(figures: ReportFigures) -> str | None:
    """One sentence on accuracy against the strongest peer, also where that peer is better; None if not measured."""
    values = {
        score.model: score.values[_HEADLINE_METRIC]
        for score in figures.scores
        if _HEADLINE_METRIC in score.values
    }
    if OWN_MODEL not in values:
        return None
    own = values.pop(OWN_MODEL)
    said = (
        f"Of {fmt.count(figures.clients_measured)} clients whose latest choice was kept aside, "
        f"{fmt.percent(own)} find it among their first ten"
    )
    if not values:
        return f"{said}."
    peer = max(sorted(values), key=lambda model: values[model])
    name, other = fmt.model_name(peer), values[peer]
    if other <= 0:
        return f"{said}, and none with {name}."
    if own >= other:
        return f"{said}: {own / other:.1f} times as many as with {name} ({fmt.percent(other)})."
    return f"{said}; with {name} more do ({fmt.percent(other)})."


def changes_sentence(figures: ReportFigures) -> str | None:
    """One sentence on what the sources brought since the night before; None where nothing is known of it."""
    if not figures.changes:
        return None
    return f"Since the night before: {', '.join(map(change_words, figures.changes))}."


def change_words(change: NamedCount) -> str:
    """One change of the sources, such as ``3 new articles``, ``1 price changed`` or ``12 fewer events``."""
    number, name = abs(change.count), fmt.words(change.name)
    if change.count < 0:
        name = name.replace("more ", "fewer ", 1)
    if number == 1:
        name = _PLURAL.sub(r"\1", name)
    return f"{fmt.count(number)} {name}"


def failures(figures: ReportFigures) -> list[str]:
    """One sentence for each gate that stopped the night, and for each stage that failed."""
    stopped = [
        f"Not published: {fmt.words(gate.name)} is {fmt.measure(gate.value)} and must be "
        f"{'at least' if gate.at_least else 'at most'} {fmt.measure(gate.allowed)} ({gate.detail}). "
        "What was published before stays."
        for gate in figures.gates
        if gate.passed is False
    ]
    return stopped + [
        f"{fmt.words(stage.stage).capitalize()} failed: {stage.error or 'no reason was recorded'}"
        for stage in figures.stages
        if stage.status == "failed"
    ]
