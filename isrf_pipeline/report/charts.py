"""Inline SVG charts; each carries a title and a description for those who do not see it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

from markupsafe import Markup

from isrf_pipeline.report.figures import ClientExample

#: Drawing area of a line chart in its own units.
_WIDTH, _HEIGHT = 300, 132
_LEFT, _RIGHT, _TOP, _BOTTOM = 26, 26, 30, 26
#: Up to so many points each value is written; beyond, only the first, the best and the last.
_ALL_LABELLED = 4


def link_letters(example: ClientExample) -> dict[str, str]:
    """Letter of each history item: how a recommendation names its grounds without a picture."""
    return {item.item_id: chr(ord("A") + place) for place, item in enumerate(example.history)}


def link_curves(example: ClientExample) -> Markup:
    """Curves from the history items on the left to the recommendations on the right that rest on them.

    Both columns divide the same height evenly among their rows, so row ``i`` of ``n`` is centred at
    ``(i + 1/2) / n`` of it whatever the text inside: the drawing is stretched to that height.

    Returns
    -------
    Markup
        An SVG element; empty where nothing is linked.
    """
    left, right = len(example.history), len(example.recommendations)
    rows = {item.item_id: place for place, item in enumerate(example.history)}
    curves = []
    for place, recommendation in enumerate(example.recommendations):
        for item_id in recommendation.because_items:
            if item_id in rows:
                start = 100 * (rows[item_id] + 0.5) / left
                end = 100 * (place + 0.5) / right
                curves.append(
                    Markup(
                        '<path class="link link-{}" d="M0 {:.2f}C55 {:.2f} 45 {:.2f} 100 {:.2f}"/>'
                    ).format(place + 1, start, start, end, end)
                )
    if not curves:
        return Markup("")
    return Markup(
        '<svg class="links" viewBox="0 0 100 100" preserveAspectRatio="none" aria-hidden="true">{}</svg>'
    ).format(Markup("").join(curves))


def line_chart(
    key: str, title: str, points: Sequence[tuple[str, float]], written: Callable[[float], str]
) -> Markup:
    """Line through a few points with their values written at them.

    Parameters
    ----------
    key
        Unique within the page; names the parts of the drawing.
    title
        What is shown.
    points
        (label, value) from left to right.
    written
        How a value is written.
    """
    values = [value for _, value in points]
    low, high = min(values), max(values)
    span = high - low or 1.0
    step = (_WIDTH - _LEFT - _RIGHT) / max(len(points) - 1, 1)
    inner = _HEIGHT - _TOP - _BOTTOM
    x = [_LEFT + step * place if len(points) > 1 else _WIDTH / 2 for place in range(len(points))]
    y = [_TOP + inner * ((high - value) / span if high > low else 0.5) for value in values]
    best = values.index(high)
    parts = [
        Markup('<line class="axis" x1="0" x2="{}" y1="{}" y2="{}"/>').format(
            _WIDTH, _HEIGHT - _BOTTOM + 6, _HEIGHT - _BOTTOM + 6
        )
    ]
    parts += [
        Markup('<line class="line" x1="{:.1f}" y1="{:.1f}" x2="{:.1f}" y2="{:.1f}"/>').format(*start, *end)
        for start, end in pairwise(zip(x, y, strict=True))
    ]
    for place, (label, value) in enumerate(points):
        parts.append(
            Markup('<circle class="{}" cx="{:.1f}" cy="{:.1f}" r="4"/>').format(
                "dot best" if place == best else "dot", x[place], y[place]
            )
        )
        if len(points) <= _ALL_LABELLED or place in (0, best, len(points) - 1):
            parts.append(
                Markup('<text class="value" x="{:.1f}" y="{:.1f}">{}</text>').format(
                    x[place], y[place] - 11, written(value)
                )
            )
        parts.append(
            Markup('<text class="tick" x="{:.1f}" y="{}">{}</text>').format(x[place], _HEIGHT - 4, label)
        )
    said = "; ".join(f"{label}: {written(value)}" for label, value in points)
    return Markup(
        '<svg class="chart" viewBox="0 0 {} {}" role="img" aria-labelledby="{}-t {}-d">'
        '<title id="{}-t">{}</title><desc id="{}-d">{}</desc>{}</svg>'
    ).format(_WIDTH, _HEIGHT, key, key, key, title, key, said, Markup("").join(parts))
