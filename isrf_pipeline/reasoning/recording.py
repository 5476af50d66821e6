"""Recordings for the backend ``replay``: stored answers, and answers that were written elsewhere, by item.

Answers from elsewhere say only which item they are about. Their fingerprints come from the prompts that this pipeline
would ask, so that the recording goes the way of every answer: found by fingerprint, judged by the same rules, refused
where it breaks one. Nothing but the catalogue is read.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from isrf_pipeline.config.settings import ReasoningSettings
from isrf_pipeline.errors import InputRefusedError, UsageError
from isrf_pipeline.reasoning.conversation import Chain, Completion
from isrf_pipeline.reasoning.fingerprint import ModelIdentity, fingerprint
from isrf_pipeline.reasoning.items import item_subjects
from isrf_pipeline.reasoning.judging import AnswerRules, Unacceptable, accepted_fields
from isrf_pipeline.reasoning.steps import chain_of

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import DataFrame, SparkSession

_WRITTEN = (
    "item_id string, feature string, tags array<string>, who_for string, who_not_for string, not_for string"
)
_NAMED = "item_id string, fingerprint string, text string, refusal string"


@dataclass(frozen=True)
class Recorded:
    """What became of a file of answers by item.

    Attributes
    ----------
    lines
        Lines of the file.
    malformed
        Lines that are no JSON object of the expected types, or name no item.
    repeated
        Lines about an item that another line is about; of these the first by its text counts.
    unknown
        Items that the catalogue lacks.
    shared
        Items whose prompt is another item's, word for word; the first item by identifier answers for all of them.
    recorded
        Answers in the recording.
    refusals
        Of these, how many break which rule of answers, so that a run will store them as dead letters.
    """

    lines: int
    malformed: int
    repeated: int
    unknown: int
    shared: int
    recorded: int
    refusals: dict[str, int]


def record_by_item(items: DataFrame, source: Path, settings: ReasoningSettings, target: Path) -> Recorded:
    """Write answers that were given item by item as a recording.

    Parameters
    ----------
    items
        silver.items.
    source
        JSON lines, gzip or plain, with item_id, feature, tags, and who_for and who_not_for (or not_for) where the
        author wrote them.
    settings
        Mode, model and rules of the runs that are to replay it; the fingerprints hold for no others.
    target
        The recording.

    Raises
    ------
    UsageError
        If the configured chain has more answers for an item than one.
    InputRefusedError
        If the file is missing or holds nothing.
    """
    from pyspark.sql import functions as F

    if len(chain_of("item", settings.mode)) != 1:
        raise UsageError(
            f"reasoning.mode {settings.mode}",
            "asks about an item in several steps, and such a file holds one answer for each",
            "--set reasoning.mode=free",
        )
    written = _read(items.sparkSession, source).persist()
    named = None
    try:
        sound = written.where("item_id IS NOT NULL AND malformed IS NULL")
        columns = [name for name in sound.columns if name != "malformed"]
        single = sound.groupBy("item_id").agg(F.min(F.struct(*columns)).alias("answer")).select("answer.*")
        about = single.join(item_subjects(items), F.col("item_id") == F.col("subject"))
        named = about.mapInArrow(_naming(settings), _NAMED).persist()
        lines, sound_lines = written.count(), sound.count()
        if not lines:
            raise InputRefusedError(str(source), "holds no line", "give a file with one JSON object an item")
        authored, known = single.count(), named.count()
        first = named.groupBy("fingerprint").agg(F.min(F.struct("item_id", "text", "refusal")).alias("first"))
        recording = first.select(
            "fingerprint",
            "first.text",
            F.lit(0).alias("tokens_in"),
            F.lit(0).alias("tokens_out"),
            "first.refusal",
        ).persist()
        broken = recording.where("refusal IS NOT NULL").groupBy("refusal").count().collect()
        recorded = write_recording(recording, target)
        recording.unpersist()
    finally:
        written.unpersist()
        if named is not None:
            named.unpersist()
    return Recorded(
        lines,
        lines - sound_lines,
        sound_lines - authored,
        authored - known,
        known - recorded,
        recorded,
        {
            row["refusal"]: row["count"]
            for row in sorted(broken, key=lambda row: (-row["count"], row["refusal"]))
        },
    )


def write_recording(answers: DataFrame, path: Path) -> int:
    """Write answers to ``path``, which is there only when it is whole, and return their number.

    Parameters
    ----------
    answers
        fingerprint, text, tokens_in, tokens_out.
    path
        JSON lines, sorted by fingerprint.
    """
    names = ("fingerprint", "text", "tokens_in", "tokens_out")
    draft = path.with_name(f"{path.name}.part")
    count = 0
    with draft.open("w", encoding="utf-8") as file:
        # One partition at a time: the recording may be larger than the driver.
        for row in answers.select(*names).orderBy("fingerprint").toLocalIterator():
            file.write(json.dumps({name: row[name] for name in names}, ensure_ascii=False) + "\n")
            count += 1
    draft.replace(path)
    return count


def _read(spark: SparkSession, source: Path) -> DataFrame:
    if not source.is_file():
        raise InputRefusedError(
            str(source), "does not exist", "name a file of answers, one JSON object an item"
        )
    reader = spark.read.schema(f"{_WRITTEN}, malformed string")
    return reader.option("columnNameOfCorruptRecord", "malformed").json(str(source.absolute()))


def _naming(settings: ReasoningSettings) -> Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    """Give each answer its text as the step's JSON, its fingerprint, and the rule that it breaks, if any."""
    (step,) = chain_of("item", settings.mode)
    model = ModelIdentity.of(settings.engine)
    rules = AnswerRules(settings.language, settings.max_echo)

    def name(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        import pyarrow as pa

        for batch in batches:
            rows = []
            for row in batch.to_pylist():
                prompt = Chain(row["item_id"], row["input"]).prompt(step)
                fields = {
                    "who_for": row["who_for"],
                    "who_not_for": row["who_not_for"] or row["not_for"],
                    "feature": row["feature"],
                    "tags": row["tags"],
                }
                text = json.dumps(fields, ensure_ascii=False)
                judged = accepted_fields(step.answer, Completion(text, 0, 0), prompt, rules)
                rows.append(
                    {
                        "item_id": row["item_id"],
                        "fingerprint": fingerprint(step, prompt, model),
                        "text": text,
                        # What stands in brackets differs from answer to answer.
                        "refusal": judged.reason.partition(" (")[0]
                        if isinstance(judged, Unacceptable)
                        else None,
                    }
                )
            schema = pa.schema(
                [(column, pa.string()) for column in ("item_id", "fingerprint", "text", "refusal")]
            )
            yield pa.RecordBatch.from_pylist(rows, schema=schema)

    return name
