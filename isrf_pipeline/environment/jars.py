"""Delta's and GraphFrames' jars: resolved once by Spark's own resolver, recorded, and used by every session.

Sessions on this machine take the recorded local paths, so that they start without a resolver and without a network;
clusters take the recorded coordinates for ``spark.jars.packages``.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from urllib.parse import unquote, urlparse

from isrf_pipeline.environment.home import isrf_home
from isrf_pipeline.errors import EnvironmentMismatchError, IsrfError

DELTA = "io.delta:delta-spark_4.2_2.13:4.4.0"

#: Tried in this order. Sedona's shaded jar carries the unchanged ``org.graphframes`` classes and stands in where a
#: Maven repository has nothing under GraphFrames' own group.
GRAPHFRAMES = (
    "io.graphframes:graphframes-spark4_2.13:0.9.3",
    "org.apache.sedona:sedona-spark-shaded-4.0_2.13:1.8.0",
)

#: Artifacts that Spark ships itself, mostly in a newer version: a second copy on the class path can only do harm.
EXCLUDES = (
    "org.apache.hadoop:hadoop-client-api",
    "org.apache.hadoop:hadoop-client-runtime",
    "com.fasterxml.jackson.core:jackson-annotations",
    "com.fasterxml.jackson.core:jackson-core",
    "com.fasterxml.jackson.core:jackson-databind",
    "com.github.luben:zstd-jni",
    "com.google.code.findbugs:jsr305",
    "io.airlift:aircompressor",
    "org.apache.logging.log4j:log4j-api",
    "org.apache.logging.log4j:log4j-core",
    "org.apache.logging.log4j:log4j-slf4j2-impl",
    "org.apache.parquet:parquet-column",
    "org.apache.parquet:parquet-common",
    "org.apache.parquet:parquet-encoding",
    "org.apache.parquet:parquet-format-structures",
    "org.apache.parquet:parquet-hadoop",
    "org.apache.parquet:parquet-jackson",
    "org.locationtech.jts:jts-core",
    "org.roaringbitmap:RoaringBitmap",
    "org.roaringbitmap:shims",
    "org.slf4j:slf4j-api",
    "org.xerial.snappy:snappy-java",
)


@dataclass(frozen=True)
class ResolvedJars:
    """What the set-up resolved on this machine.

    Attributes
    ----------
    packages
        Maven coordinates, for ``spark.jars.packages`` on a cluster.
    excludes
        Coordinates for ``spark.jars.excludes``, to go with ``packages``.
    graphframes
        Where GraphFrames' classes come from: ``graphframes`` or ``sedona``.
    jars
        Absolute local paths, for ``spark.jars`` on this machine.
    key
        Hash of everything that the resolution depends on.
    """

    packages: tuple[str, ...]
    excludes: tuple[str, ...]
    graphframes: str
    jars: tuple[str, ...]
    key: str


def record_path() -> Path:
    """File in which the resolution is recorded."""
    return isrf_home() / "jars.json"


def resolved_jars() -> ResolvedJars | None:
    """Return the recorded resolution, or None where there is none or one of its files is gone."""
    try:
        row = json.loads(record_path().read_text(encoding="utf-8"))
        record = ResolvedJars(
            packages=tuple(row["packages"]),
            excludes=tuple(row["excludes"]),
            graphframes=row["graphframes"],
            jars=tuple(row["jars"]),
            key=row["key"],
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return record if all(Path(jar).is_file() for jar in record.jars) else None


def graphframes_candidates() -> tuple[str, ...]:
    """Coordinates to try for GraphFrames: ``ISRF_GRAPHFRAMES`` (comma-separated), else :data:`GRAPHFRAMES`."""
    chosen = os.environ.get("ISRF_GRAPHFRAMES", "")
    return tuple(part.strip() for part in chosen.split(",") if part.strip()) or GRAPHFRAMES


def resolution_key() -> str:
    """Hash of everything that decides which jars are right; a record with another key is stale."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        spark = version("pyspark")
    except PackageNotFoundError:
        spark = "none"
    return hashlib.sha256(json.dumps([DELTA, graphframes_candidates(), EXCLUDES, spark]).encode()).hexdigest()


def resolve_jars(force: bool = False) -> ResolvedJars:
    """Resolve the jars with Spark's own resolver, unless a current record says that it is done.

    Raises
    ------
    EnvironmentMismatchError
        If pyspark is missing or no candidate can be resolved.
    """
    current = resolved_jars()
    if current is not None and not force and current.key == resolution_key():
        return current
    for candidate in graphframes_candidates():
        found = _resolve((DELTA, candidate))
        if found is None:
            print(f"{candidate} is not in the Maven repository reachable here", flush=True)
            continue
        record = ResolvedJars(
            packages=(DELTA, candidate),
            excludes=EXCLUDES,
            graphframes="sedona" if ":sedona-" in candidate else "graphframes",
            jars=tuple(str(jar) for jar in _keep(found)),
            key=resolution_key(),
        )
        _write_record(record)
        return record
    raise EnvironmentMismatchError(
        "jars",
        f"Spark's resolver found neither {' nor '.join(graphframes_candidates())} together with {DELTA}",
        "check the network or proxy, or name your mirror's Ivy settings file in ISRF_IVY_SETTINGS, then run make setup",
    )


def _resolve(packages: tuple[str, ...]) -> list[Path] | None:
    """Paths of ``packages`` and what they need, or None where the resolver could not find all of them."""
    try:
        import pyspark
    except ImportError:
        raise EnvironmentMismatchError("pyspark", "is not installed", "run make setup") from None
    spark_home = Path(pyspark.__file__).parent
    command = [str(spark_home / "bin" / "spark-submit"), "--master", "local[1]"]
    command += ["--packages", ",".join(packages), "--exclude-packages", ",".join(EXCLUDES)]
    if settings := os.environ.get("ISRF_IVY_SETTINGS"):
        command += ["--conf", f"spark.jars.ivySettings={settings}"]
    command.append(str(Path(__file__).with_name("jar_probe.py")))
    environment = {**os.environ, "SPARK_HOME": str(spark_home), "PYSPARK_PYTHON": sys.executable}
    environment.pop("PYSPARK_DRIVER_PYTHON", None)
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    # The resolver's own report belongs into the set-up's log, which is where this output goes.
    print(done.stderr, flush=True)
    for line in done.stdout.splitlines():
        if done.returncode == 0 and line.startswith("ISRF_JARS="):
            urls = [url for url in line.removeprefix("ISRF_JARS=").split(",") if url.endswith(".jar")]
            return [Path(unquote(urlparse(url).path)) for url in urls]
    return None


def _keep(found: list[Path]) -> list[Path]:
    """Link the jars into the home folder: clearing the resolver's cache must not break sessions."""
    folder = isrf_home() / "jars"
    folder.mkdir(parents=True, exist_ok=True)
    kept = []
    for jar in found:
        target = folder / jar.name
        partial = folder / f".{jar.name}.{os.getpid()}"
        partial.unlink(missing_ok=True)
        try:
            os.link(jar, partial)
        except OSError:
            shutil.copyfile(jar, partial)
        os.replace(partial, target)
        # Renaming one hard link over another of the same file does nothing and leaves the first behind.
        partial.unlink(missing_ok=True)
        kept.append(target.resolve())
    for old in folder.iterdir():
        if old.resolve() not in kept:
            with contextlib.suppress(OSError):
                old.unlink()
    return kept


def _write_record(record: ResolvedJars) -> None:
    path = record_path()
    partial = path.with_suffix(f".{os.getpid()}")
    partial.write_text(json.dumps(asdict(record), indent=1) + "\n", encoding="utf-8")
    os.replace(partial, path)


def main(arguments: list[str] | None = None) -> int:
    """Resolve the jars; the last line of output says which jar GraphFrames comes from."""
    options = sys.argv[1:] if arguments is None else arguments
    try:
        record = resolve_jars(force="--force" in options)
    except IsrfError as error:
        print(f"isrf: {error}", file=sys.stderr)
        return error.exit_code
    print(f"{len(record.jars)} jars, GraphFrames from {record.packages[-1]}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
