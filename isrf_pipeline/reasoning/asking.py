"""The part of reasoning that runs in Spark's workers: rows in, conversations through the backend, answers out."""

from __future__ import annotations

import datetime
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING

from isrf_pipeline.config.settings import ReasoningSettings
from isrf_pipeline.lake.tables import ANSWERS
from isrf_pipeline.reasoning.backends import BackendFactory
from isrf_pipeline.reasoning.conversation import Chain, Conversation
from isrf_pipeline.reasoning.fingerprint import ModelIdentity
from isrf_pipeline.reasoning.judging import AnswerRules
from isrf_pipeline.reasoning.prompts import PROMPT_VERSION
from isrf_pipeline.reasoning.steps import Subject, chain_of

if TYPE_CHECKING:
    import pyarrow as pa

ArrowFunction = Callable[["Iterator[pa.RecordBatch]"], "Iterator[pa.RecordBatch]"]
STARTED_SCHEMA = "pid bigint, seconds double"


def asking(
    subject: Subject, settings: ReasoningSettings, run_id: str, factory: BackendFactory
) -> ArrowFunction:
    """Function over rows (subject, input, answers, ahead) that gives the rows of reasoning.answers.

    Rows that are marked as ahead belong to the next wave: the backend may begin them, and nothing is given for them.
    """

    def answer(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        import pyarrow as pa

        rows = [row for batch in batches for row in batch.to_pylist()]
        if not rows:
            return
        model = ModelIdentity.of(settings.engine)
        steps = chain_of(subject, settings.mode)
        rules = AnswerRules(settings.language, settings.max_echo)

        def conversations(ahead: bool) -> Iterator[Conversation]:
            # One at a time, so that the backend renders a prompt only when it has room for it.
            for row in rows:
                if row["ahead"] is ahead:
                    chain = Chain(row["subject"], row["input"], list(row["answers"]))
                    yield Conversation(chain, steps, model, rules)

        common = {"model": model.name, "prompt_version": PROMPT_VERSION, "run_id": run_id}
        answered = [
            asdict(row) | common | {"finished_at": datetime.datetime.now(datetime.UTC)}
            for row in factory(settings).carry(conversations(ahead=False), conversations(ahead=True))
        ]
        yield pa.RecordBatch.from_pylist(answered, schema=_answer_schema())

    return answer


def starting(settings: ReasoningSettings, factory: BackendFactory) -> ArrowFunction:
    """Function that makes a worker's backend ready and gives its process and the seconds that it took."""

    def start(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        import pyarrow as pa

        for _ in batches:
            pass
        clock = time.perf_counter()
        factory(settings)
        seconds = time.perf_counter() - clock
        yield pa.RecordBatch.from_pydict({"pid": pa.array([os.getpid()], pa.int64()), "seconds": [seconds]})

    return start


def _answer_schema() -> pa.Schema:
    import pyarrow as pa

    types = {"string": pa.string(), "int": pa.int32(), "timestamp": pa.timestamp("us", tz="UTC")}
    return pa.schema([pa.field(c.name, types[c.type], c.nullable) for c in ANSWERS.columns])
