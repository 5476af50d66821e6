"""Wrong usage, as a new user tries it: one line, the right code, and nothing changed."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from isrf_pipeline import __version__
from isrf_pipeline.cli import configuration
from isrf_pipeline.cli.demo import found_briefs, moved_paths
from isrf_pipeline.cli.main import main
from isrf_pipeline.config import load_settings


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Working folder with one good configuration; its lake does not exist."""
    (tmp_path / "good.yaml").write_text("lake:\n  root: lake\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def fake_java(folder: Path, answer: str, code: int = 0) -> Path:
    java = folder / "fake" / "bin" / "java"
    java.parent.mkdir(parents=True)
    java.write_text(f"#!/bin/sh\necho '{answer}' >&2\nexit {code}\n", encoding="utf-8")
    java.chmod(0o755)
    return java.parent.parent


def complaint(capsys: pytest.CaptureFixture[str]) -> str:
    printed = capsys.readouterr()
    assert printed.out == ""
    (line,) = printed.err.splitlines()
    assert line.startswith("isrf: error: ")
    return line.removeprefix("isrf: error: ")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ("", "isrf: needs a command; the commands are doctor, demo, run, nightly, backfill, plan, status"),
        ("nigtly", "isrf nigtly: is not a command; did you mean 'nightly'."),
        ("qqqq", "isrf qqqq: is not a command; choose among doctor, demo,"),
        ("config", "isrf config: needs a command; the commands are show, describe."),
        ("config shwo", "isrf config shwo: is not a command; did you mean 'show'."),
        (
            "run ingest --conf-fle good.yaml",
            "isrf run --conf-fle: is not an option; did you mean '--conf-file'.",
        ),
        ("run ingest --conf good.yaml", "isrf run --conf: is not an option; did you mean '--conf-file'."),
        ("run ingest", "isrf run: the following arguments are required: --conf-file; see isrf run --help."),
        (
            "run --conf-file good.yaml",
            "isrf run: the following arguments are required: STAGE; see isrf run --help.",
        ),
        ("run ingst --conf-file good.yaml", "stage ingst: is not a stage; did you mean 'ingest'."),
        ("run ingest export --conf-file good.yaml", "isrf: unrecognized arguments: export; see isrf --help."),
        (
            "nightly --conf-file good.yaml --from reason_item",
            "--from reason_item: is not a stage; did you mean 'reason_items'.",
        ),
        (
            "nightly --conf-file good.yaml --until qqqq",
            "--until qqqq: is not a stage; the stages are ingest, ",
        ),
        (
            "nightly --conf-file good.yaml --from export --until ingest",
            "--from export --until ingest: export comes after ingest in the nightly run; swap the two.",
        ),
        (
            "nightly --conf-file good.yaml --run-date 30.6.2026",
            "--run-date 30.6.2026: is not a day as YYYY-MM-DD;",
        ),
        (
            "nightly --conf-file good.yaml --run-date 20260630",
            "--run-date 20260630: is not a day as YYYY-MM-DD;",
        ),
        (
            "nightly --conf-file god.yaml",
            "god.yaml: the configuration file does not exist; did you mean good.yaml.",
        ),
        (
            "nightly --conf-file good.yaml --set lake.rot=x",
            "--set key lake.rot: 'rot' is not a known setting; did you mean 'root'.",
        ),
        (
            "run ingest --conf-file good.yaml --set lake.root",
            "--set lake.root: is not of the form key=value;",
        ),
        (
            "status --conf-file good.yaml --last many",
            "isrf status: argument --last: invalid int value: 'many';",
        ),
        (
            "explain --user u --run-date soon --conf-file good.yaml",
            "--run-date soon: is not a day as YYYY-MM-DD;",
        ),
        ("demo --seed x", "isrf demo: argument --seed: invalid int value: 'x'; see isrf demo --help."),
    ],
)
def test_wrong_usage_is_one_line_and_changes_nothing(
    folder: Path, capsys: pytest.CaptureFixture[str], arguments: str, told: str
) -> None:
    assert main(arguments.split()) == 2
    assert complaint(capsys).startswith(told)
    assert [path.name for path in folder.iterdir()] == ["good.yaml"]


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        ('openjdk version "11.0.22" 2024-01-16', "is Java 11, but Spark needs 17 or newer; install Java 17"),
        ('java version "1.8.0_401"', "is Java 8, but Spark needs 17 or newer; install Java 17"),
        ("nonsense", "does not tell its version"),
    ],
)
def test_an_unfit_java_is_named_before_anything_starts(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, answer: str, told: str
) -> None:
    monkeypatch.delenv("PYSPARK_GATEWAY_PORT", raising=False)
    monkeypatch.setenv("JAVA_HOME", str(fake_java(folder, answer)))
    for command in ("run export", "nightly --from evaluate --until evaluate"):
        assert main([*command.split(), "--conf-file", "good.yaml"]) == 2
        assert told in complaint(capsys)
    assert not (folder / "lake").exists()


def test_no_java_at_all(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PYSPARK_GATEWAY_PORT", raising=False)
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setenv("PATH", str(folder))
    assert main(["run", "export", "--conf-file", "good.yaml"]) == 2
    assert complaint(capsys).startswith("Java: is not installed, or not on the PATH; install Java 17")
    monkeypatch.setenv("JAVA_HOME", str(folder / "nowhere"))
    assert main(["run", "export", "--conf-file", "good.yaml"]) == 2
    assert "holds no bin/java" in complaint(capsys)


def test_a_lake_that_cannot_be_written(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JAVA_HOME", str(fake_java(folder, 'openjdk version "17.0.15"')))
    assert main(["run", "export", "--conf-file", "good.yaml", "--set", "lake.root=good.yaml/lake"]) == 2
    assert complaint(capsys).startswith("good.yaml/lake: the lake cannot be written (Not a directory);")


def test_a_defect_of_ours_is_one_line_and_its_trace_is_in_a_file(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError("no\nway")

    monkeypatch.setattr(configuration, "load_settings", broken)
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.setattr("tempfile.tempdir", None)
    assert main(["config", "show", "--conf-file", "good.yaml"]) == 1
    line = complaint(capsys)
    assert line.startswith("ZeroDivisionError: no: was not expected; the trace is in ")
    assert "ZeroDivisionError" in Path(line.split(" trace is in ")[1].rstrip(".")).read_text(encoding="utf-8")


def test_an_interrupted_command_says_so(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(configuration, "load_settings", interrupted)
    assert main(["config", "show", "--conf-file", "good.yaml"]) == 130
    assert complaint(capsys).startswith("interrupted;")


def test_help_and_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"isrf {__version__}\n"
    assert main(["--help"]) == 0
    help_text = capsys.readouterr().out
    for command in ("doctor", "demo", "run", "nightly", "status", "explain", "config", "benchmark"):
        assert f"\n  {command}" in help_text or f"    {command}" in help_text
    assert "5 another run holds the lake" in " ".join(help_text.split())
    assert main(["run", "--help"]) == 0


def test_config_show_names_origins_and_hides_secrets(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ISRF_SECRET_KEY", "hunter2")
    arguments = ["config", "show", "--conf-file", "good.yaml", "--set", "spark.conf.fs.key=${secret:KEY}"]
    assert main(arguments) == 0
    lines = [line.split(maxsplit=3) for line in capsys.readouterr().out.splitlines()]
    assert ["lake.root", "from", "good.yaml", '"lake"'] in lines
    assert ["spark.conf.fs.key", "from", "--set", '"${secret:KEY}"'] in lines
    assert ["recommend.top_n", "from", "default", "20"] in lines
    assert "hunter2" not in str(lines)


def test_a_moved_demo_keeps_everything_below_its_own_folder(folder: Path) -> None:
    (folder / "demo.yaml").write_text(
        """
lake: {root: demo-lake/lake}
ingest:
  items: {path: demo-lake/raw/items.jsonl, format: jsonl}
  interactions:
    - {name: orders, path: demo-lake/raw/orders.csv, format: csv, event_type: purchase}
    - {name: other, path: elsewhere/other.csv, format: csv, event_type: view}
""",
        encoding="utf-8",
    )
    moved = moved_paths(load_settings("demo.yaml").settings, Path("/data/my demo"))
    settings = load_settings("demo.yaml", moved).settings
    assert settings.lake.root == "/data/my demo/lake"
    assert settings.ingest.items is not None
    assert settings.ingest.items.path == "/data/my demo/raw/items.jsonl"
    assert [source.path for source in settings.ingest.interactions] == [
        "/data/my demo/raw/orders.csv",
        "elsewhere/other.csv",
    ]


def test_the_demos_briefs_are_those_of_the_working_folder_else_those_beside_the_package(folder: Path) -> None:
    (folder / "demo.yaml").write_text(
        "lake:\n  root: lake\ncampaigns:\n  briefs: conf/campaigns\n", encoding="utf-8"
    )
    settings = load_settings("demo.yaml").settings
    beside = load_settings("demo.yaml", found_briefs(settings)).settings
    assert beside.campaigns.briefs == [str(Path(__file__).parents[2] / "conf" / "campaigns")]
    (folder / "conf" / "campaigns").mkdir(parents=True)
    assert found_briefs(settings) == []


def test_the_command_line_needs_no_heavy_package() -> None:
    import subprocess

    code = (
        "import sys; from isrf_pipeline.cli.main import main; main(['--version']); "
        "print([name for name in ('pyspark', 'torch', 'vllm', 'transformers') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
