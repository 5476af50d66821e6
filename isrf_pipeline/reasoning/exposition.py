"""Figures of a reasoning stage as a Prometheus text file, for the textfile collector of a node exporter."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

from isrf_pipeline.errors import EnvironmentMismatchError
from isrf_pipeline.reasoning.steps import Subject
from isrf_pipeline.reasoning.tally import Tally

_COUNTS = {
    "calls": "Calls of the language model in this run, second attempts included",
    "tokens_in": "Prompt tokens of this run",
    "tokens_out": "Output tokens of this run",
    "tokens_cached": "Prompt tokens of this run that came from the prefix cache",
    "ok": "Answers of this run",
    "dead": "Dead letters of this run",
    "repaired": "Answers of this run that took a second attempt",
}


def write_exposition(path: Path, subject: Subject, tally: Tally, left: int) -> None:
    """Write the state of a run that is under way; the file is replaced as a whole.

    Parameters
    ----------
    path
        File to write, such as /var/lib/node_exporter/isrf_items.prom; ``{subject}`` in it is replaced.
    subject
        Which subjects.
    tally
        What the run has asked so far.
    left
        Subjects still to ask about.

    Raises
    ------
    EnvironmentMismatchError
        If the file cannot be written.
    """
    client: Any = importlib.import_module("prometheus_client")
    registry = client.CollectorRegistry()
    for name, told in _COUNTS.items():
        gauge = client.Gauge(f"isrf_reasoning_{name}", told, ["subject", "step"], registry=registry)
        for kind, step in tally.steps.items():
            gauge.labels(subject, kind.partition(".")[2]).set(getattr(step, name))
    for name, told, value in (
        ("subjects_done", "Subjects asked about in this run", float(tally.subjects)),
        ("subjects_left", "Subjects still to ask about", float(left)),
        ("output_tokens_per_second", "Output tokens a second over all workers", tally.tokens_out_per_second),
        ("valid_share", "Share of answers that are no dead letters", tally.valid_share),
    ):
        client.Gauge(f"isrf_reasoning_{name}", told, ["subject"], registry=registry).labels(subject).set(
            value
        )
    target = Path(str(path).replace("{subject}", f"{subject}s"))
    try:
        client.write_to_textfile(str(target), registry)
    except OSError as error:
        raise EnvironmentMismatchError(
            f"reasoning.prometheus_file {target}",
            f"cannot be written ({error.strerror})",
            "make its folder, or give the run write access to it",
        ) from None
