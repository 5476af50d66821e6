"""Servers that die, hang, refuse or write garbage: real processes, asked by the pool that the workers use."""

from __future__ import annotations

import contextlib
import datetime
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from isrf_pipeline.config import Settings
from isrf_pipeline.config.settings import LakeSettings, ReasoningSettings
from isrf_pipeline.errors import ReasoningError
from isrf_pipeline.lake import Lake, tables
from isrf_pipeline.reasoning.conversation import AnswerRow, Chain, Conversation
from isrf_pipeline.reasoning.fingerprint import ModelIdentity
from isrf_pipeline.reasoning.judging import AnswerRules
from isrf_pipeline.reasoning.server import ServerPool
from isrf_pipeline.reasoning.steps import chain_of
from isrf_pipeline.run.failures import known_error
from isrf_pipeline.stages import reason_items
from isrf_pipeline.stages.context import StageContext

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

pytestmark = pytest.mark.faults

SCRIPT = Path(__file__).with_name("scripted_server.py")
N_ITEMS = 12


@dataclass
class Server:
    """One server process."""

    process: subprocess.Popen[bytes]
    url: str
    log: Path

    def answered(self) -> list[str]:
        """Titles that it answered about."""
        return self.log.read_text().splitlines() if self.log.exists() else []

    def turns(self, behaviour: str) -> None:
        """Change how it behaves from now on."""
        Path(f"{self.log}.behaviour").write_text(behaviour)

    def kill(self) -> None:
        """End it as a machine that fails would."""
        os.kill(self.process.pid, signal.SIGKILL)
        self.process.wait()


@contextlib.contextmanager
def serving(folder: Path, *behaviours: str) -> Iterator[list[Server]]:
    servers = []
    try:
        for place, behaviour in enumerate(behaviours):
            with socket.socket() as probe:
                probe.bind(("127.0.0.1", 0))
                port = probe.getsockname()[1]
            log = folder / f"server-{place}.txt"
            process = subprocess.Popen([sys.executable, str(SCRIPT), str(port), behaviour, str(log)])
            servers.append(Server(process, f"http://127.0.0.1:{port}/v1", log))
        for server in servers:
            _wait_until_up(server.url)
        yield servers
    finally:
        for server in servers:
            server.process.kill()
            server.process.wait()


def _wait_until_up(url: str) -> None:
    for _ in range(200):
        with contextlib.suppress(OSError), urllib.request.urlopen(f"{url}/models", timeout=1):
            return
        time.sleep(0.05)
    raise AssertionError(f"{url} did not start")


def settings_for(servers: list[Server], **server: Any) -> dict[str, Any]:
    limits = {"timeout_s": 2.0, "backoff_s": 0.05, "retry_dead_after_s": 0.5, "concurrency": 4, "attempts": 4}
    return {
        "backend": "server",
        "mode": "single",
        "server": {"urls": [s.url for s in servers], "served_model": "small", **limits, **server},
    }


def asked_of(servers: list[Server], count: int = N_ITEMS, **server: Any) -> list[AnswerRow]:
    settings = ReasoningSettings.model_validate(settings_for(servers, **server))
    model = ModelIdentity.of(settings.engine)
    chains = [Chain(f"id-{n}", json.dumps(values(n))) for n in range(count)]
    pool = ServerPool(settings)
    steps = chain_of("item", "single")
    return list(pool.carry(Conversation(chain, steps, model, AnswerRules()) for chain in chains))


def values(n: int) -> dict[str, Any]:
    empty = {"brand": None, "categories": "", "price": None, "description": None, "attributes": {}}
    return {"title": f"Scarf {n}", **empty}


def each_once(rows: list[AnswerRow], *servers: Server) -> None:
    """Every subject has one good answer, and no server was asked again for what was answered."""
    assert sorted(row.subject for row in rows) == sorted(f"id-{n}" for n in range(len(rows)))
    assert {row.status for row in rows} == {"ok"}
    titles = [title for server in servers for title in server.answered()]
    assert sorted(titles) == sorted(f"Title: Scarf {n}" for n in range(len(rows)))


def test_work_is_shared_by_load(tmp_path: Path) -> None:
    with serving(tmp_path, "slow", "good") as servers:
        each_once(asked_of(servers, 40), *servers)
        slow, quick = (len(server.answered()) for server in servers)
    assert quick > 2 * slow


@pytest.mark.parametrize("behaviour", ["garbage", "error", "half", "hang"])
def test_a_bad_server_is_left_out_and_costs_no_answer(tmp_path: Path, behaviour: str) -> None:
    with serving(tmp_path, behaviour, "good") as servers:
        each_once(asked_of(servers, timeout_s=0.5), *servers)
        assert servers[0].answered() == []


def test_a_busy_server_is_waited_for_as_long_as_it_says(tmp_path: Path) -> None:
    with serving(tmp_path, "busy") as servers:
        started = time.monotonic()
        each_once(asked_of(servers, 4, concurrency=1), *servers)
    # Three refusals one after the other, each with Retry-After: 1.
    assert time.monotonic() - started >= 3


def test_a_server_that_recovers_is_asked_again(tmp_path: Path) -> None:
    with serving(tmp_path, "error") as servers:
        threading.Timer(0.6, servers[0].turns, ["good"]).start()
        each_once(asked_of(servers, attempts=8), *servers)


def test_one_poisoned_request_costs_itself_only(tmp_path: Path) -> None:
    with serving(tmp_path, "poisoned") as servers:
        rows = asked_of(servers, 6)
    dead = [row for row in rows if row.status == "dead"]
    assert [(row.subject, row.reason) for row in dead] == [
        ("id-0", "item.single: no server answered it (status 500)")
    ]
    assert len(rows) == 6


def test_an_input_too_long_for_the_server_is_shortened(tmp_path: Path) -> None:
    with serving(tmp_path, "small") as servers:
        settings = ReasoningSettings.model_validate(settings_for(servers))
        chain = Chain("id-0", json.dumps(values(0) | {"description": "silk " * 100}))
        steps = chain_of("item", "single")
        conversation = Conversation(chain, steps, ModelIdentity.of(settings.engine), AnswerRules())
        (row,) = ServerPool(settings).carry([conversation])
    assert (row.status, row.note) == ("ok", "input shortened to fit the model")


def test_all_servers_dead_is_one_line_that_names_them(tmp_path: Path) -> None:
    with serving(tmp_path, "slow", "slow") as servers:

        def kill_all() -> None:
            for server in servers:
                server.kill()

        threading.Timer(0.8, kill_all).start()
        with pytest.raises(ReasoningError, match="no server answers") as caught:
            asked_of(servers, 60)
        assert all(server.url in str(caught.value) for server in servers)
        with pytest.raises(ReasoningError, match="no server answers"):
            asked_of(servers, 1)


def test_a_server_of_another_model_is_refused_at_once(tmp_path: Path) -> None:
    with (
        serving(tmp_path, "good") as servers,
        pytest.raises(ReasoningError, match="serves small and not large"),
    ):
        asked_of(servers, 1, served_model="large")


@pytest.mark.spark
def test_killed_servers_lose_and_repeat_nothing(spark: SparkSession, lake: Lake, tmp_path: Path) -> None:
    """One of two servers dies: the stage ends whole. Both die: it fails in one line, and resumes."""
    rows = [(f"id-{n}", f"Scarf {n}", None, [], None, None, {}, True, None, "x") for n in range(3 * N_ITEMS)]
    lake.overwrite(tables.ITEMS, spark.createDataFrame(rows, tables.ITEMS.ddl()))

    def context(run_id: str, servers: list[Server]) -> StageContext:
        settings = Settings.model_validate(
            {
                "lake": {"root": lake.root},
                "reasoning": {**settings_for(servers), "wave": 2 * N_ITEMS},
                "embedding": {"partitions": 1},
            }
        )
        return StageContext(spark, settings, lake, datetime.date(2026, 3, 1), run_id)

    with serving(tmp_path, "slow", "slow") as servers:
        # Two waves overlap: the third is begun when the first is committed.
        _kill_once_it_answered(servers, 2 * N_ITEMS + 2)
        with pytest.raises(Exception, match="no server answers") as caught:
            reason_items.run(context("first", servers))
        assert isinstance(known_error(caught.value), ReasoningError)
    committed = lake.read(tables.ANSWERS).count()
    assert committed in (N_ITEMS, 2 * N_ITEMS)
    assert not lake.exists(tables.ITEM_FEATURES)

    others = tmp_path / "others"
    others.mkdir()
    with serving(others, "slow", "slow") as servers:
        _kill_once_it_answered(servers[:1], 2)
        second = context("second", servers)
        reason_items.run(second)
    answers = lake.read(tables.ANSWERS)
    assert second.counters.llm_calls == 3 * N_ITEMS - committed
    assert answers.count() == answers.select("fingerprint").distinct().count() == 3 * N_ITEMS
    assert lake.read(tables.ITEM_FEATURES).where("origin = 'llm'").count() == 3 * N_ITEMS


@pytest.mark.spark
@pytest.mark.slow
def test_a_killed_driver_pays_for_one_wave_twice_at_most(
    spark: SparkSession, lake: Lake, tmp_path: Path
) -> None:
    wave = 8
    rows = [(f"id-{n}", f"Scarf {n}", None, [], None, None, {}, True, None, "x") for n in range(3 * N_ITEMS)]
    undisturbed = Lake(spark, LakeSettings(root=str(tmp_path / "undisturbed")))
    for each in (lake, undisturbed):
        each.overwrite(tables.ITEMS, spark.createDataFrame(rows, tables.ITEMS.ddl()))
    with serving(tmp_path, "slow") as servers:
        raw = {
            "environment": "test",
            "lake": {"root": lake.root},
            "spark": {"master": "local[2]", "driver_memory": "1g", "shuffle_partitions": 2},
            "reasoning": {**settings_for(servers), "wave": wave},
            "embedding": {"partitions": 1},
        }
        conf = tmp_path / "conf.yaml"
        conf.write_text(json.dumps(raw))
        command = ["run", "reason_items", "--conf-file", str(conf), "--run-date", "2026-03-01"]
        with (tmp_path / "driver.txt").open("wb") as out:
            driver = subprocess.Popen(
                [sys.executable, "-m", "isrf_pipeline", *command],
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        while len(servers[0].answered()) < 2 * wave + 1:
            assert driver.poll() is None, (tmp_path / "driver.txt").read_text()
            time.sleep(0.02)
        # The driver, its JVM and their Python workers, all at once: what a machine that fails leaves.
        os.killpg(driver.pid, signal.SIGKILL)
        driver.wait()
        asked = len(servers[0].answered())
        committed = lake.read(tables.ANSWERS).count()
        assert 0 < committed < 3 * N_ITEMS and not lake.exists(tables.ITEM_FEATURES)
        assert asked - committed <= wave, "no more than a wave is under way without a commit"

        settings = Settings.model_validate(raw)
        rerun = StageContext(spark, settings, lake, datetime.date(2026, 3, 1), "rerun")
        reason_items.run(rerun)
        servers[0].turns("good")
        reason_items.run(StageContext(spark, settings, undisturbed, datetime.date(2026, 3, 1), "alone"))
    assert rerun.counters.llm_calls == 3 * N_ITEMS - committed
    answers = lake.read(tables.ANSWERS)
    assert answers.count() == answers.select("fingerprint").distinct().count() == 3 * N_ITEMS
    after, alone = (
        each.read(tables.ITEM_FEATURES).orderBy("item_id").collect() for each in (lake, undisturbed)
    )
    assert after == alone and {row["origin"] for row in after} == {"llm"}
    assert len({row["feature"] for row in after}) == 3 * N_ITEMS


def _kill_once_it_answered(servers: list[Server], count: int) -> None:
    def watch() -> None:
        while sum(len(server.answered()) for server in servers) < count:
            time.sleep(0.02)
        for server in servers:
            server.kill()

    threading.Thread(target=watch, daemon=True).start()
