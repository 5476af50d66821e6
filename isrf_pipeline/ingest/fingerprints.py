"""Fingerprints of source files: whether anything has changed since they were read."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from isrf_pipeline.config.settings import IngestSettings

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


def source_fingerprints(spark: SparkSession, settings: IngestSettings) -> dict[str, int]:
    """Fingerprint of each source of ingest, by ``source:<name>``; see :func:`file_fingerprints`."""
    return file_fingerprints(spark, dict(_paths(settings)))


def file_fingerprints(spark: SparkSession, paths: Mapping[str, str]) -> dict[str, int]:
    """63 bits of a hash over path, length and time of change of all files of each path, by ``source:<name>``.

    Where a path cannot be listed there is none: reading it will say why.

    Parameters
    ----------
    spark
        Session that can list the files.
    paths
        File, folder or pattern by name.
    """
    return {
        f"source:{name}": found
        for name, path in paths.items()
        if (found := _fingerprint(spark, path)) is not None
    }


def _paths(settings: IngestSettings) -> Iterator[tuple[str, str]]:
    if settings.research is not None:
        yield "research", settings.research.path
        return
    if settings.items is not None:
        yield "items", settings.items.path
    if settings.clients is not None:
        yield "clients", settings.clients.path
    for source in settings.interactions:
        yield f"interactions.{source.name}", source.path


def _fingerprint(spark: SparkSession, path: str) -> int | None:
    jvm = spark.sparkContext._jvm
    assert jvm is not None
    pattern = jvm.org.apache.hadoop.fs.Path(path)
    files = pattern.getFileSystem(spark._jsparkSession.sessionState().newHadoopConf())
    found = files.globStatus(pattern)
    if not found:
        return None
    lines = []
    for place in found:
        listed = files.listFiles(place.getPath(), True)
        while listed.hasNext():
            file = listed.next()
            lines.append(f"{file.getPath()} {file.getLen()} {file.getModificationTime()}")
    digest = hashlib.sha256("\n".join(sorted(lines)).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1
