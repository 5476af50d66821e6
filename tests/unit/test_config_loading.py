"""Reading settings: every mistake a user can make is one line that names key, rule and mend."""

from __future__ import annotations

from pathlib import Path

import pytest

from isrf_pipeline.config import load_settings
from isrf_pipeline.config.loading import settings_hash
from isrf_pipeline.errors import ConfigurationError

MINIMAL = "lake:\n  root: lake\n"


def write(tmp_path: Path, text: str, name: str = "demo.yaml") -> Path:
    file = tmp_path / name
    file.write_text(text, encoding="utf-8")
    return file


def refusal(tmp_path: Path, text: str, *overrides: str) -> str:
    with pytest.raises(ConfigurationError) as caught:
        load_settings(write(tmp_path, text), overrides)
    message = str(caught.value)
    assert "\n" not in message
    assert caught.value.exit_code == 2
    return message


def test_defaults_file_and_override_are_told_apart(tmp_path: Path) -> None:
    file = write(tmp_path, MINIMAL + "recommend:\n  top_n: 5\n")
    effective = load_settings(file, ["optimize.rounds=3"])
    rows = {key: (value, origin) for key, value, origin in effective.rows()}
    assert rows["recommend.top_n"] == ("5", "demo.yaml")
    assert rows["optimize.rounds"] == ("3", "--set")
    assert rows["recommend.hero_items"] == ("20", "default")


def test_a_section_set_as_a_whole_leaves_its_other_keys_at_their_defaults(tmp_path: Path) -> None:
    effective = load_settings(
        write(tmp_path, MINIMAL + "spark:\n  app_name: x\n"), ["spark={driver_memory: 2g}"]
    )
    assert effective.settings.spark.app_name == "isrf"
    assert effective.origin("spark.driver_memory") == "--set"
    assert effective.origin("spark.app_name") == "default"


def test_an_override_replaces_a_value_of_the_file(tmp_path: Path) -> None:
    effective = load_settings(write(tmp_path, MINIMAL), ["lake.root=/elsewhere"])
    assert effective.settings.lake.root == "/elsewhere"
    assert effective.origin("lake.root") == "--set"


def test_a_spark_property_keeps_its_dots_and_becomes_text(tmp_path: Path) -> None:
    file = write(tmp_path, MINIMAL + "spark:\n  conf:\n    spark.ui.enabled: true\n    spark.task.cpus: 2\n")
    conf = load_settings(file, ["spark.conf.spark.sql.shuffle.partitions=8"]).settings.spark.conf
    assert conf == {"spark.ui.enabled": "true", "spark.task.cpus": "2", "spark.sql.shuffle.partitions": "8"}


SOURCES = (
    MINIMAL
    + """
ingest:
  interactions:
    - {name: orders, path: orders.csv, format: csv, event_type: purchase}
    - {name: hearts, path: hearts.csv, format: csv, event_type: wishlist}
"""
)


def test_an_element_of_a_list_can_be_overridden(tmp_path: Path) -> None:
    effective = load_settings(write(tmp_path, SOURCES), ["ingest.interactions.1.path=other.csv"])
    assert [source.path for source in effective.settings.ingest.interactions] == ["orders.csv", "other.csv"]
    assert effective.origin("ingest.interactions") == "demo.yaml and --set"


@pytest.mark.parametrize("position", ["2", "-1", "first"])
def test_a_position_outside_its_list_is_refused(tmp_path: Path, position: str) -> None:
    message = refusal(tmp_path, SOURCES, f"ingest.interactions.{position}.path=other.csv")
    assert f"'{position}' is no position in a list of 2" in message


def test_an_unquoted_day_stays_text(tmp_path: Path) -> None:
    file = write(tmp_path, MINIMAL + "ingest:\n  earliest_event: 2019-05-01\n")
    assert load_settings(file).settings.ingest.earliest_event == "2019-05-01"


def test_a_header_without_keys_is_no_value(tmp_path: Path) -> None:
    effective = load_settings(write(tmp_path, MINIMAL + "spark:\n#  master: x\nreasoning:\n  engine:\n"))
    assert effective.settings.spark.app_name == "isrf"
    assert effective.origin("spark.app_name") == "default"


@pytest.mark.parametrize(
    ("text", "overrides", "named"),
    [
        ("lake:\n  rot: x\n", (), "key lake.rot: is not a known setting; did you mean 'root'"),
        (MINIMAL + "recomend: {}\n", (), "did you mean 'recommend'"),
        (MINIMAL + "top_n: 3\n", (), "did you mean 'recommend.top_n'"),
        (
            MINIMAL,
            ("recommend.topn=3",),
            "--set key recommend.topn: 'topn' is not a known setting; did you mean 'top_n'",
        ),
        (MINIMAL, ("spark={mastr: x}",), "--set key spark.mastr"),
        (MINIMAL, ("recommend.top_n",), "is not of the form key=value"),
        (MINIMAL, ("=3",), "is not of the form key=value"),
        (
            MINIMAL,
            ("recommend.top_n=0",),
            "--set key recommend.top_n: Input should be greater than or equal to 1 (found 0)",
        ),
        (MINIMAL + "recommend: {top_n: many}\n", (), "demo.yaml key recommend.top_n"),
        (
            MINIMAL + "recommend: {top_n: 100, candidates: 50}\n",
            (),
            "candidates (50) must not be fewer than top_n (100)",
        ),
        (MINIMAL + "ingest: {earliest_event: soon}\n", (), "must be a day as YYYY-MM-DD"),
        (
            MINIMAL + "ingest: {event_weights: {purchase: 0}}\n",
            (),
            "event_weights of purchase must be above 0",
        ),
        (SOURCES.replace("hearts,", "orders,"), (), "two interaction sources are named 'orders'"),
        (SOURCES.replace("wishlist", "hearted"), (), "event type 'hearted' of source 'hearts' has no weight"),
        ("spark: {}\n", (), "key lake: Field required"),
        ("lake: {root: ''}\n", (), "key lake.root"),
        ("- a\n", (), "must hold a mapping of keys to values"),
        ("lake: [\n", (), "is not valid YAML at line 2"),
        (
            MINIMAL + "lake:\n  root: other\n",
            (),
            "is not valid YAML at line 3 (the key 'lake' stands there twice)",
        ),
        (MINIMAL + "1: x\n", (), "key 1: is not a known setting"),
    ],
)
def test_mistakes_are_named(tmp_path: Path, text: str, overrides: tuple[str, ...], named: str) -> None:
    assert named in refusal(tmp_path, text, *overrides)


def test_a_missing_file_suggests_its_neighbour(tmp_path: Path) -> None:
    write(tmp_path, MINIMAL, "local.yaml")
    with pytest.raises(ConfigurationError, match=r"does not exist; did you mean .*local\.yaml"):
        load_settings(tmp_path / "locl.yaml")


def test_a_folder_and_a_binary_file_are_refused_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="cannot be read"):
        load_settings(tmp_path)
    binary = tmp_path / "x.yaml"
    binary.write_bytes(b"\xff\xfe\x00lake")
    with pytest.raises(ConfigurationError, match="is not UTF-8 text"):
        load_settings(binary)


SECRET = MINIMAL + "spark:\n  conf:\n    spark.hadoop.key: 'id:${secret:LAKE_KEY}'\n"


def test_a_secret_reaches_the_settings_and_no_output(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ISRF_SECRET_LAKE_KEY", "hunter2")
    effective = load_settings(write(tmp_path, SECRET))
    assert effective.settings.spark.conf["spark.hadoop.key"] == "id:hunter2"
    shown = "\n".join(map(str, effective.rows()))
    assert "hunter2" not in shown
    assert "id:${secret:LAKE_KEY}" in shown


def test_a_rotated_secret_is_the_same_configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hashes = set()
    for value in ("one", "two"):
        monkeypatch.setenv("ISRF_SECRET_LAKE_KEY", value)
        hashes.add(load_settings(write(tmp_path, SECRET)).config_hash)
    assert len(hashes) == 1


def test_a_secret_that_breaks_a_rule_is_not_printed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ISRF_SECRET_N", "hunter2")
    message = refusal(tmp_path, MINIMAL + "recommend:\n  top_n: ${secret:N}\n")
    assert "recommend.top_n" in message
    assert "hunter2" not in message


def test_a_missing_secret_names_its_variable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ISRF_SECRET_LAKE_KEY", raising=False)
    assert "ISRF_SECRET_LAKE_KEY is not set" in refusal(tmp_path, SECRET)


def test_the_hash_changes_with_a_value_and_not_with_its_origin(tmp_path: Path) -> None:
    plain = load_settings(write(tmp_path, MINIMAL))
    same = load_settings(write(tmp_path, MINIMAL), ["recommend.top_n=20"])
    other = load_settings(write(tmp_path, MINIMAL), ["recommend.top_n=21"])
    assert plain.config_hash == same.config_hash == settings_hash(plain.settings)
    assert plain.config_hash != other.config_hash
