"""How far each subject has come: its chain is followed through the stored answers, by fingerprint.

Rows are (subject, priority, input, answers, state, reason, fingerprint). The state is complete (every step is
answered), dead (a step's stored answer is a dead letter) or missing (a step was never asked).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, get_args

from isrf_pipeline.reasoning.conversation import Chain
from isrf_pipeline.reasoning.fingerprint import ModelIdentity, fingerprint
from isrf_pipeline.reasoning.steps import Mode, Subject, chain_of

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import Column, DataFrame

_TRACE = (
    "subject string, priority bigint, input string, answers array<string>, state string, reason string, "
    "fingerprint string"
)


def trace(
    subjects: DataFrame,
    answers: DataFrame,
    subject: Subject,
    mode: Mode,
    model: ModelIdentity,
    only_changed: bool = False,
) -> DataFrame:
    """Follow each subject's chain through ``answers`` without asking anybody.

    Parameters
    ----------
    subjects
        Columns subject (string), priority (bigint, smaller is asked earlier) and input (string: the variables of
        the prompts as a JSON object).
    answers
        reasoning.answers.
    subject, mode
        Which chain.
    model
        Identity of the model that is asked.
    only_changed
        Whether subjects whose own data is the same keep the newest answer they have, of whichever model and prompts.

    Returns
    -------
    DataFrame
        Columns subject, priority, input, answers (array of JSON strings, one a step taken), state, reason and
        fingerprint (of the call that is missing, or of the last one).
    """
    from pyspark.sql import functions as F

    rows = subjects.select(
        "subject",
        F.col("priority").cast("bigint").alias("priority"),
        "input",
        F.array().cast("array<string>").alias("answers"),
        F.lit("open").alias("state"),
        F.lit(None).cast("string").alias("reason"),
        F.lit(None).cast("string").alias("fingerprint"),
    )
    # Of two rows with one fingerprint, as two concurrent runs may leave them, the earlier counts.
    known = answers.groupBy("fingerprint", "kind").agg(
        F.min(F.struct("finished_at", "status", "answer", "reason")).alias("found")
    )
    for place, step in enumerate(chain_of(subject, mode)):
        stored = known.where(F.col("kind") == step.kind).select("fingerprint", "found")
        named = rows.mapInArrow(_fingerprinting(subject, mode, place, model), _TRACE)
        rows = _taken(named.join(stored, "fingerprint", "left"))
    ended = F.when(F.col("state") == "open", "complete").otherwise(F.col("state"))
    traced = rows.withColumn("state", ended)
    return _keep_unchanged(traced, answers, subject) if only_changed else traced


def _keep_unchanged(traced: DataFrame, answers: DataFrame, subject: Subject) -> DataFrame:
    """Complete missing subjects whose data is the same with the newest answer that they have."""
    from pyspark.sql import functions as F

    last = sorted({chain_of(subject, mode)[-1].kind for mode in get_args(Mode)})
    kept = (
        answers.where(F.col("kind").isin(last) & (F.col("status") == "ok"))
        .groupBy("subject", F.col("input_hash").alias("hash"))
        .agg(F.max_by("answer", F.struct("finished_at", "fingerprint")).alias("kept"))
    )
    joined = traced.withColumn("hash", F.sha2("input", 256)).join(kept, ["subject", "hash"], "left")
    holds = (F.col("state") == "missing") & F.col("kept").isNotNull()
    return joined.withColumns(
        {
            "answers": F.when(holds, F.array("kept")).otherwise(F.col("answers")),
            "state": F.when(holds, F.lit("complete")).otherwise(F.col("state")),
        }
    ).select(*traced.columns)


def _taken(joined: DataFrame) -> DataFrame:
    from pyspark.sql import functions as F

    is_open = F.col("state") == "open"
    status = F.col("found.status")
    state: Column = (
        F.when(~is_open, F.col("state"))
        .when(status.isNull(), "missing")
        .when(status == "dead", "dead")
        .otherwise("open")
    )
    answers = F.when(is_open & (status == "ok"), F.array_append("answers", F.col("found.answer"))).otherwise(
        F.col("answers")
    )
    reason = F.when(is_open, F.col("found.reason")).otherwise(F.col("reason"))
    return joined.select(
        "subject",
        "priority",
        "input",
        answers.alias("answers"),
        state.alias("state"),
        reason.alias("reason"),
        "fingerprint",
    )


def _fingerprinting(
    subject: Subject, mode: Mode, place: int, model: ModelIdentity
) -> Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    """Set the fingerprint of each open chain's next call; those that ended keep theirs."""

    def add(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        import pyarrow as pa

        step = chain_of(subject, mode)[place]
        for batch in batches:
            identities = [
                fingerprint(step, Chain(row["subject"], row["input"], row["answers"]).prompt(step), model)
                if row["state"] == "open"
                else row["fingerprint"]
                for row in batch.to_pylist()
            ]
            column = batch.schema.get_field_index("fingerprint")
            yield batch.set_column(column, "fingerprint", pa.array(identities, pa.string()))

    return add
