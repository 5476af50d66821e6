"""Two real vLLM servers are killed one after the other while they answer."""

from __future__ import annotations

import contextlib
import datetime
import os
import re
import signal
import socket
import subprocess
import threading
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from isrf_pipeline.config import Settings
from isrf_pipeline.config.settings import ReasoningSettings
from isrf_pipeline.errors import ReasoningError
from isrf_pipeline.lake import Lake, tables
from isrf_pipeline.reasoning.serving import server_command, server_variables
from isrf_pipeline.run.failures import known_error
from isrf_pipeline.stages import reason_items
from isrf_pipeline.stages.context import StageContext

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

pytestmark = [pytest.mark.llm, pytest.mark.slow, pytest.mark.spark, pytest.mark.faults]

N_ITEMS = 10
WAVE = 4
START_SECONDS = 240.0


@dataclass
class VllmServer:
    """One vLLM server with its engine process, in a process group of their own."""

    process: subprocess.Popen[bytes]
    url: str
    log: Path

    def is_up(self) -> bool:
        assert self.process.poll() is None, self.log.read_text()[-2000:]
        with contextlib.suppress(OSError), urllib.request.urlopen(f"{self.url}/health", timeout=1):
            return True
        return False

    def answered(self) -> int:
        """Requests that it has ended, as it counts them itself."""
        with urllib.request.urlopen(f"{self.url}/metrics", timeout=5) as page:
            counts = re.findall(
                r"^vllm:request_success_total\{.*\} (\S+)$", page.read().decode(), re.MULTILINE
            )
        return round(sum(float(count) for count in counts))

    def kill(self) -> None:
        """End it as a machine that fails would."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def kill_after(self, more: int) -> None:
        """Kill it, from another thread, when it has ended so many more requests."""
        wanted = self.answered() + more

        def watch() -> None:
            while self.answered() < wanted:
                time.sleep(0.05)
            self.kill()

        threading.Thread(target=watch, daemon=True).start()


@contextlib.contextmanager
def vllm_servers(folder: Path, count: int) -> Iterator[list[VllmServer]]:
    engine = {"max_model_len": 1024, "max_num_seqs": 8, "threads": 1}
    settings = ReasoningSettings.model_validate({"engine": engine})
    servers = []
    try:
        for place in range(count):
            with socket.socket() as probe:
                probe.bind(("127.0.0.1", 0))
                port = probe.getsockname()[1]
            log = folder / f"vllm-{place}.txt"
            with log.open("wb") as out:
                process = subprocess.Popen(
                    server_command(settings, "127.0.0.1", port),
                    env=os.environ | server_variables(settings),
                    stdout=out,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
            servers.append(VllmServer(process, f"http://127.0.0.1:{port}", log))
        deadline = time.monotonic() + START_SECONDS
        while not all(server.is_up() for server in servers):
            assert time.monotonic() < deadline, "the servers did not start"
            time.sleep(0.3)
        yield servers
    finally:
        for server in servers:
            server.kill()


def add_items(lake: Lake, first: int) -> None:
    kinds = ["Silk Scarf", "Leather Tote", "Wool Coat", "Loafers"]
    rows: list[tuple[Any, ...]] = [
        (f"i{n}", f"{kinds[n % 4]} No. {n}", "Maison Aurelle", ["Fashion"], None, 300.0, {}, True, None, "x")
        for n in range(first, first + N_ITEMS)
    ]
    lake.append(tables.ITEMS, lake.spark.createDataFrame(rows, tables.ITEMS.ddl()))


def test_killed_servers_lose_and_repeat_nothing(spark: SparkSession, lake: Lake, tmp_path: Path) -> None:
    def context(run_id: str, servers: list[VllmServer]) -> StageContext:
        urls = [f"{server.url}/v1" for server in servers]
        limits = {"timeout_s": 60.0, "backoff_s": 0.1, "retry_dead_after_s": 0.5, "attempts": 4}
        settings = Settings.model_validate(
            {
                "lake": {"root": lake.root},
                "reasoning": {
                    "backend": "server",
                    "mode": "single",
                    "wave": WAVE,
                    "server": {"urls": urls, **limits},
                    "engine": {"max_model_len": 1024},
                    # What the small model writes is not under test here.
                    "max_failed_share": 1.0,
                },
                "embedding": {"partitions": 1},
            }
        )
        return StageContext(spark, settings, lake, datetime.date(2026, 3, 1), run_id)

    with vllm_servers(tmp_path, 2) as servers:
        add_items(lake, 0)
        servers[0].kill_after(1)
        first = context("first", servers)
        reason_items.run(first)
        assert servers[0].process.poll() is not None, "one server was killed in mid-run"
        answers = lake.read(tables.ANSWERS).collect()
        assert sorted(row.subject for row in answers) == sorted(f"i{n}" for n in range(N_ITEMS))
        assert first.counters.llm_calls == sum(row.calls for row in answers)
        assert not any("no server" in (row.reason or "") for row in answers)

        add_items(lake, N_ITEMS)
        servers[1].kill_after(WAVE)
        with pytest.raises(Exception, match="no server answers") as caught:
            reason_items.run(context("second", servers))
        assert isinstance(known_error(caught.value), ReasoningError)
    rows = lake.read(tables.ANSWERS).collect()
    assert len(rows) == len({row.fingerprint for row in rows}) < 2 * N_ITEMS
    assert [row for row in rows if row.run_id == "first"] == answers, "what was committed stays as it was"
