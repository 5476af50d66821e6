"""Commits of a Delta table as its log has them: one file a version, as Delta's protocol says.

``DESCRIBE HISTORY`` says the same, as a query of some tenths of a second: a tenth of a small night.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

_LAST_CHECKPOINT = "_last_checkpoint"
_COMMIT_INFO = '{"commitInfo"'


class CommitLog:
    """The commits of one table.

    Parameters
    ----------
    spark
        Session that can read the table's files.
    path
        Folder of the table, which exists.
    """

    def __init__(self, spark: SparkSession, path: str) -> None:
        jvm = spark.sparkContext._jvm
        assert jvm is not None
        self._jvm = jvm
        self._folder = jvm.org.apache.hadoop.fs.Path(f"{path}/_delta_log")
        self._files = self._folder.getFileSystem(spark._jsparkSession.sessionState().newHadoopConf())

    def newest_version(self, known: int | None = None) -> int:
        """Version of the newest commit.

        Parameters
        ----------
        known
            A version that the table has had: only later ones are looked for. Without it the search begins at the last
            checkpoint, which Delta writes every few commits and before it removes any.
        """
        version = self._checkpoint() if known is None else known
        while self._files.exists(self._commit(version + 1)):
            version += 1
        return version

    def metrics(self, version: int) -> dict[str, str]:
        """What a commit counted, such as numOutputRows; empty where it did not say."""
        counted: dict[str, str] = self._info(version).get("operationMetrics", {})
        return counted

    def newest_without(self, notes: Collection[str], known: int | None = None) -> int:
        """Version of the newest commit whose user metadata is none of ``notes``; -1 where the log has none left.

        ``known`` as for :meth:`newest_version`.
        """
        version = self.newest_version(known)
        while version >= 0 and self._files.exists(self._commit(version)):
            if self._info(version).get("userMetadata") not in notes:
                return version
            version -= 1
        return -1

    def _info(self, version: int) -> dict[str, Any]:
        """What a commit says of itself; nothing where it does not."""
        for line in self._lines(self._commit(version)):
            if line.startswith(_COMMIT_INFO):
                info: dict[str, Any] = json.loads(line)["commitInfo"]
                return info
        return {}

    def _checkpoint(self) -> int:
        pointer = self._jvm.org.apache.hadoop.fs.Path(self._folder, _LAST_CHECKPOINT)
        if not self._files.exists(pointer):
            return -1
        version: int = json.loads("".join(self._lines(pointer)))["version"]
        return version

    def _commit(self, version: int) -> Any:
        return self._jvm.org.apache.hadoop.fs.Path(self._folder, f"{version:020}.json")

    def _lines(self, file: Any) -> list[str]:
        """Lines of a file up to the one that describes the commit: those behind it may be very many."""
        java = self._jvm.java.io
        stream = self._files.open(file)
        try:
            reader = java.BufferedReader(java.InputStreamReader(stream, "UTF-8"))
            lines: list[str] = []
            while (line := reader.readLine()) is not None:
                lines.append(line)
                if line.startswith(_COMMIT_INFO):
                    break
            return lines
        finally:
            stream.close()
