"""Secrets stay out of what is printed, logged and raised, however they came to be in the text."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from isrf_pipeline.cli.main import main
from isrf_pipeline.config import redaction
from isrf_pipeline.config.loading import load_settings
from isrf_pipeline.config.redaction import is_secret_key, redact_file, redacted, remember_secret
from isrf_pipeline.config.settings import Settings
from isrf_pipeline.errors import ConfigurationError, IsrfError, ReasoningError
from isrf_pipeline.logs import configure_logging, log_event, log_failure
from isrf_pipeline.reasoning.server import ServerPool
from isrf_pipeline.run.failures import one_line
from isrf_pipeline.run.terminal import complain, say

SECRET = 'hun"ter\\2 & é'


@pytest.fixture(autouse=True)
def nothing_remembered(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(redaction, "_shown_for", {})
    yield
    configure_logging()


def settings_file(folder: Path, text: str) -> Path:
    file = folder / "conf.yaml"
    file.write_text("lake: {root: lake}\n" + text, encoding="utf-8")
    return file


@pytest.mark.parametrize(
    "written",
    [SECRET, repr(SECRET), json.dumps(SECRET), "hun%22ter%5C2%20%26%20%C3%A9", f"key={SECRET}; host=h"],
)
def test_a_remembered_secret_is_replaced_however_it_is_quoted(written: str) -> None:
    remember_secret(SECRET, "${secret:KEY}")
    shown = redacted(f"before {written} after")
    assert "hun" not in shown
    assert shown.startswith("before ") and shown.endswith(" after") and "${secret:KEY}" in shown


def test_a_secret_within_another_leaves_no_rest() -> None:
    remember_secret("hunter", "${secret:SHORT}")
    remember_secret("hunter2hunter2", "${secret:LONG}")
    assert redacted("hunter2hunter2") == "${secret:LONG}"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("http://user:hunter2@host:8000/v1", "http://user:***@host:8000/v1"),
        ("http://:hunter2@host", "http://:***@host"),
        (
            "jdbc:sqlserver://h;user=me;password=hunter2;encrypt=true",
            "jdbc:sqlserver://h;user=me;password=***;encrypt=true",
        ),
        ("https://h/c?sv=1&sig=hunter2%3D&se=2", "https://h/c?sv=1&sig=***&se=2"),
        ("http://user:${secret:PW}@host", "http://user:${secret:PW}@host"),
        ("http://host:8000/v1 at 12:30 by me@example.com", "http://host:8000/v1 at 12:30 by me@example.com"),
        ('{"a": "http://host/x", "b": "c:d@e"}', '{"a": "http://host/x", "b": "c:d@e"}'),
    ],
)
def test_passwords_within_addresses_are_replaced_and_nothing_else(text: str, shown: str) -> None:
    assert redacted(text) == shown


def test_which_settings_are_secret() -> None:
    for key in (
        "reasoning.server.api_key",
        "spark.conf.spark.hadoop.fs.s3a.secret.key",
        "spark.conf.spark.hadoop.fs.s3a.access.key",
        "spark.conf.spark.hadoop.fs.azure.account.key.lake.dfs.core.windows.net",
        "spark.conf.spark.ssl.keyStorePassword",
    ):
        assert is_secret_key(key), key
    for key in ("reasoning.budget.max_llm_tokens", "lake.root", "spark.conf.spark.sql.shuffle.partitions"):
        assert not is_secret_key(key), key


def test_config_show_hides_what_is_a_secret_itself(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = settings_file(
        tmp_path,
        "spark: {conf: {spark.hadoop.fs.s3a.secret.key: hunter2key, spark.sql.ansi.enabled: 'true'}}\n"
        "reasoning: {server: {api_key: hunter2api, urls: ['http://u:hunter2url@h:8000/v1']}}\n",
    )
    assert (
        main(["config", "show", "--conf-file", str(file), "--set", "spark.conf.a.password=hunter2set"]) == 0
    )
    shown = capsys.readouterr().out
    assert "hunter2" not in shown
    lines = {line.split()[0]: line.split()[-1] for line in shown.splitlines()}
    assert lines["spark.conf.spark.hadoop.fs.s3a.secret.key"] == lines["spark.conf.a.password"] == "***"
    assert lines["reasoning.server.api_key"] == "***"
    assert lines["reasoning.server.urls"] == '["http://u:***@h:8000/v1"]'
    assert lines["spark.conf.spark.sql.ansi.enabled"] == '"true"'


def test_a_setting_that_is_secret_and_wrong_is_not_printed(tmp_path: Path) -> None:
    file = settings_file(tmp_path, "reasoning: {server: {api_key: 271828}}\n")
    with pytest.raises(ConfigurationError, match=r"reasoning\.server\.api_key") as caught:
        load_settings(file)
    assert "271828" not in str(caught.value)


def test_what_was_loaded_is_in_no_log_line_and_in_no_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ISRF_SECRET_LAKE", "hunter2lake")
    file = settings_file(
        tmp_path,
        "spark: {conf: {spark.hadoop.fs.s3a.secret.key: '${secret:LAKE}', spark.db.password: hunter2database}}\n",
    )
    effective = load_settings(file)
    assert effective.settings.spark.conf["spark.hadoop.fs.s3a.secret.key"] == "hunter2lake"
    log = tmp_path / "run.log"
    configure_logging(log)
    log_event("opened", conf=effective.settings.spark.conf, path="s3a://id:hunter2path@bucket/x")
    try:
        raise RuntimeError(f"no access with {effective.settings.spark.conf}")
    except RuntimeError as error:
        log_failure("command_failed")
        line = one_line(error)
    say(f"with {effective.settings.spark.conf}")
    complain(str(IsrfError("hunter2database", "is wrong", "use another")))
    printed = capsys.readouterr()
    for text in (log.read_text(encoding="utf-8"), line, printed.out, printed.err):
        assert "hunter2" not in text
        assert "${secret:LAKE}" in text or "***" in text
    for written in log.read_text(encoding="utf-8").splitlines():
        json.loads(written)


def test_what_other_programs_wrote_to_the_log_is_redacted_too(tmp_path: Path) -> None:
    log = tmp_path / "run.log"
    log.write_bytes(b"java.io.IOException: key hunter2 refused \xff\n")
    remember_secret("hunter2", "${secret:KEY}")
    redact_file(log)
    assert log.read_bytes() == b"java.io.IOException: key ${secret:KEY} refused \xff\n"


def test_an_unexpected_failure_does_not_log_values_of_overrides(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("before any settings were read")

    monkeypatch.setattr("isrf_pipeline.cli.configuration.load_settings", fail)
    monkeypatch.setattr("isrf_pipeline.cli.main.temporary_log_folder", lambda: tmp_path)
    given = [
        "config",
        "show",
        "--conf-file",
        "c.yaml",
        "--set",
        "reasoning.server.api_key=hunter2",
        "--set=a.b=hunter2",
    ]
    assert main(given) == 1
    (log,) = tmp_path.glob("*.log")
    assert "reasoning.server.api_key=" in log.read_text(encoding="utf-8")
    assert "hunter2" not in log.read_text(encoding="utf-8") + capsys.readouterr().err


@pytest.mark.parametrize(
    "address",
    ["http://user:hunter2@127.0.0.1:9/v1", "http://user:hunter2@[broken/v1", "http://user:hunter2@/v1"],
)
def test_a_server_that_cannot_be_reached_is_named_without_its_password(address: str) -> None:
    settings = Settings.model_validate(
        {
            "lake": {"root": "lake"},
            "reasoning": {"backend": "server", "server": {"urls": [address], "api_key": "hunter2key"}},
        }
    )
    with pytest.raises(ReasoningError) as caught:
        ServerPool(settings.reasoning)
    assert "user:***@" in str(caught.value)
    trace = io.StringIO()
    import traceback

    traceback.print_exception(caught.value, file=trace)
    assert "hunter2" not in trace.getvalue()
