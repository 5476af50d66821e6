"""The benchmark: a research set through the stages of the nightly run, under the protocol of leave-one-out."""

from __future__ import annotations

import datetime
import importlib.metadata
import importlib.resources
import json
import os
import platform
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from isrf_pipeline.config import load_settings
from isrf_pipeline.config.yaml_text import parse_yaml
from isrf_pipeline.errors import InputRefusedError, UsageError
from isrf_pipeline.evaluation.beyond_accuracy import MEASURES
from isrf_pipeline.evaluation.memory import PeakMemory
from isrf_pipeline.evaluation.metrics import CUTOFFS
from isrf_pipeline.evaluation.peers import PEERS, require_packages
from isrf_pipeline.evaluation.split import describe_split
from isrf_pipeline.lake import Lake, tables
from isrf_pipeline.logs import log_event
from isrf_pipeline.session import build_session
from isrf_pipeline.stages.context import StageContext
from isrf_pipeline.stages.registry import load_stage

#: Stages whose time is the benchmark's wall time; evaluate measures and is nobody's time.
TIMED_STAGES = (
    "ingest",
    "reason_items",
    "build_interaction_graph",
    "reason_users",
    "build_user_graph",
    "optimize",
    "recommend",
)
_REPORTED = (*(f"{metric}@{k}" for k in CUTOFFS for metric in ("HR", "NDCG", "MRR")), *MEASURES)
#: Files of changes to benchmark.yaml, by the name of the profile.
PROFILES = {"full": None, "fast": "benchmark_fast.yaml"}
#: After the last event of every research set, so that none is a future event.
_RUN_DATE = datetime.date(2026, 1, 1)


def run_benchmark(
    data: Path,
    out: Path,
    peers: Sequence[str] = (),
    shuffle_ties: int | None = None,
    overrides: Sequence[str] = (),
    profile: str = "full",
) -> dict[str, Any]:
    """Run ingest to evaluate on a research set and write ``metrics.json``.

    Parameters
    ----------
    data
        Folder with interactions.csv.gz and items.jsonl.gz.
    out
        Folder for metrics.json and the lake of the run; made if absent, a lake of an earlier run is replaced.
    peers
        Names of peers to measure beside it.
    shuffle_ties
        Seed that shuffles each client's events of one day; None keeps the given order.
    overrides
        ``key=value`` settings.
    profile
        full or fast, see :data:`PROFILES`.

    Returns
    -------
    dict
        What metrics.json holds.
    """
    for name in ("interactions.csv.gz", "items.jsonl.gz"):
        if not (data / name).is_file():
            raise InputRefusedError(
                str(data / name), "does not exist", "give --data a folder with both files of a research set"
            )
    unknown = [peer for peer in peers if peer not in PEERS]
    if unknown:
        raise UsageError(f"--peers {unknown[0]}", "is not a known peer", f"choose among {', '.join(PEERS)}")
    require_packages(peers)
    lake_root = out / "lake" / f"{datetime.datetime.now(datetime.UTC):%Y%m%dT%H%M%S}-{os.getpid()}"
    fixed = [f"lake.root={json.dumps(str(lake_root))}", f"ingest.research.path={json.dumps(str(data))}"]
    if shuffle_ties is not None:
        fixed.append(f"ingest.research.shuffle_ties={shuffle_ties}")
    if peers:
        fixed.append(f"evaluation.peers={json.dumps(list(peers))}")
    with importlib.resources.as_file(
        importlib.resources.files("isrf_pipeline.evaluation") / "benchmark.yaml"
    ) as base:
        effective = load_settings(base, [*fixed, *changes_of(profile), *overrides])
    spark = build_session(effective.settings)
    lake = Lake(spark, effective.settings.lake)
    seconds: dict[str, float] = {}
    with PeakMemory() as memory:
        for name in (*TIMED_STAGES, "evaluate"):
            started = time.perf_counter()
            stage = load_stage(name)
            stage.run(StageContext(spark, effective.settings, lake, _RUN_DATE, f"benchmark-{lake_root.name}"))
            spark.catalog.clearCache()
            spent = round(time.perf_counter() - started, 2)
            log_event("stage_finished", stage=name, seconds=spent)
            if name in TIMED_STAGES:
                seconds[name] = spent
                # Peers run inside evaluate; what they need is not ours.
                peak = memory.peak_mb
    seconds["total"] = round(sum(seconds.values()), 2)
    measured = {
        (row["metric"], row["slice"]): row["value"]
        for row in lake.read(tables.METRICS).where("startswith(metric, 'evaluate.')").collect()
    }
    interactions = lake.read(tables.INTERACTIONS)
    result: dict[str, Any] = {
        "dataset": data.name,
        "users": interactions.select("user_id").distinct().count(),
        "items": lake.read(tables.ITEMS).count(),
        "interactions": interactions.count(),
        "profile": profile,
        "split": describe_split(effective.settings.split),
        "order": "given" if shuffle_ties is None else f"same-day events shuffled with seed {shuffle_ties}",
        "reasoning": _reasoning_note(effective.settings.reasoning.backend),
        "isrf": {
            **_over_all(measured, "isrf"),
            "wall_seconds": seconds,
            "peak_rss_mb": round(peak),
        },
        "peers": {
            peer: {
                **_over_all(measured, peer),
                "wall_seconds": {
                    step: round(value, 2)
                    for (metric, step), value in measured.items()
                    if metric == f"evaluate.{peer}.wall_seconds"
                },
                "peak_rss_mb": round(measured[f"evaluate.{peer}.peak_rss_mb", "all"]),
            }
            for peer in peers
        },
        "slices": _by_slice(measured, ("isrf", *peers)),
        "isrf_over_peers": _over_peers(measured, peers, "all"),
        "validation": {
            f"{row['metric'].removeprefix('optimize.')} {row['slice']}": row["value"]
            for row in lake.read(tables.METRICS).where("startswith(metric, 'optimize.')").collect()
        },
        "chosen": lake.read(tables.INTEREST_MODEL).drop("run_date").first().asDict(),  # type: ignore[union-attr]
        "config_hash": effective.config_hash,
        "versions": _versions(),
    }
    out.mkdir(parents=True, exist_ok=True)
    draft = out / "metrics.json.part"
    draft.write_text(json.dumps(result, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    draft.replace(out / "metrics.json")
    return result


def changes_of(profile: str) -> list[str]:
    """``key=value`` settings of a profile."""
    file = PROFILES[profile]
    if file is None:
        return []
    text = (importlib.resources.files("isrf_pipeline.evaluation") / file).read_text(encoding="utf-8")
    return [f"{key}={json.dumps(value)}" for key, value in parse_yaml(text).items()]


def _over_all(measured: dict[tuple[str, str], float], system: str) -> dict[str, float]:
    """Measures of one system over all clients; lists that show nothing have no novelty, for instance."""
    keys = {name: (f"evaluate.{system}.{name}", "all") for name in _REPORTED}
    return {name: measured[key] for name, key in keys.items() if key in measured}


def _by_slice(measured: dict[tuple[str, str], float], systems: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Slice to its clients, and to HR@10 and NDCG@10 of each system, ours beside the peers with intervals."""
    slices = sorted({slice_ for metric, slice_ in measured if metric == "evaluate.isrf.NDCG@10"})
    found: dict[str, dict[str, Any]] = {}
    for slice_ in slices:
        found[slice_] = {"clients": round(measured["evaluate.clients_measured", slice_])}
        for system in systems:
            found[slice_][system] = {
                name: measured[f"evaluate.{system}.{name}", slice_] for name in ("HR@10", "NDCG@10")
            }
        found[slice_]["isrf_over_peers"] = _over_peers(measured, systems[1:], slice_)
    return found


def _over_peers(
    measured: dict[tuple[str, str], float], peers: Sequence[str], slice_: str
) -> dict[str, dict[str, list[float]]]:
    """Peer to metric to the difference in our favour and the bounds of its 95 % interval."""
    return {
        peer: {
            name: [
                measured[f"evaluate.isrf.{name}_over_{peer}{bound}", slice_]
                for bound in ("", ".low", ".high")
            ]
            for name in ("HR@10", "NDCG@10")
        }
        for peer in peers
    }


def _reasoning_note(backend: str) -> str:
    if backend == "none":
        return "no language model: text embeddings of the attributes stand in for its features"
    return f"language model through the backend {backend}"


def _versions() -> dict[str, str]:
    versions = {"python": platform.python_version()}
    for package in (
        "isrf-pipeline",
        "pyspark",
        "delta-spark",
        "numpy",
        "scipy",
        "torch",
        "sentence-transformers",
        "implicit",
    ):
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return versions
