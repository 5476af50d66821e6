"""Recorded answers in the place of a model: the same night again, without one."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path

from isrf_pipeline.errors import InputRefusedError
from isrf_pipeline.reasoning.conversation import AnswerRow, Completion, Conversation


class RecordedAnswers:
    """Answers by fingerprint from JSON lines with fingerprint, text, tokens_in and tokens_out.

    Parameters
    ----------
    path
        The recording, readable by every worker.

    Raises
    ------
    InputRefusedError
        If a line of it is no such record.
    """

    def __init__(self, path: Path) -> None:
        self._completions = dict(_records(path))

    def carry(
        self, conversations: Iterable[Conversation], ahead: Iterable[Conversation] = ()
    ) -> Iterator[AnswerRow]:
        """Answer from the recording; what it lacks ends in a dead letter that says so."""
        lacking = Completion("", 0, 0, failure="not among the recorded answers")
        for conversation in conversations:
            outcome = conversation.advance(None)
            while not isinstance(outcome, list):
                outcome = conversation.advance(self._completions.get(outcome.fingerprint, lacking))
            yield from outcome


def _records(path: Path) -> Iterator[tuple[str, Completion]]:
    with path.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, 1):
            try:
                record = json.loads(line)
                yield (
                    record["fingerprint"],
                    Completion(record["text"], record["tokens_in"], record["tokens_out"]),
                )
            except (ValueError, KeyError, TypeError):
                raise InputRefusedError(
                    f"{path}, line {number}",
                    "is no recorded answer",
                    "record again with isrf answers, which writes fingerprint, text, tokens_in and tokens_out",
                ) from None
