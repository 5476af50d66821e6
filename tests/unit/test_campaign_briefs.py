"""Briefs: what they may say, how each mistake is named, when they run, and the command that checks them."""

from __future__ import annotations

import datetime
from pathlib import Path
from textwrap import dedent

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isrf_pipeline.campaigns.brief import Brief
from isrf_pipeline.campaigns.loading import load_brief, load_briefs
from isrf_pipeline.cli.campaign import brief_lines
from isrf_pipeline.cli.main import main
from isrf_pipeline.errors import ConfigurationError

GOOD = """\
id: silk
name: Silk for the evening
target:
  items: [A-1, "007", A-1]
size: 20
"""


def written(folder: Path, text: str, name: str = "silk.yaml") -> Path:
    file = folder / name
    file.write_text(dedent(text), encoding="utf-8")
    return file


def refusal(folder: Path, text: str) -> str:
    file = written(folder, text)
    with pytest.raises(ConfigurationError) as caught:
        load_brief(file)
    said = str(caught.value)
    assert said.startswith(str(file)) and "\n" not in said
    return said.removeprefix(str(file)).strip()


def test_a_short_brief_asks_for_consent_and_excludes_nobody(tmp_path: Path) -> None:
    brief = load_brief(written(tmp_path, GOOD))
    assert brief.target.kind == "items"
    assert brief.target.items == ["A-1", "007", "A-1"]
    assert brief.require_consent
    assert (brief.min_score, brief.holdout_share) == (0.0, 0.0)
    assert brief.exclude.earlier_campaigns is None and not brief.exclude.buyers


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (GOOD.replace("size", "sise"), "key sise: is not a known setting; did you mean 'size'."),
        # A key in the wrong place is looked for in the brief, not among the settings of a run.
        (GOOD + "items: [A-2]\n", "key items: is not a known setting; did you mean 'target.items'."),
        (GOOD.replace("items: [A-1", "itmes: [A-1"), "key target.itmes: is not a known setting; did you mean 'items'."),
        (GOOD + "exclude:\n  byers: true\n", "key exclude.byers: is not a known setting; did you mean 'buyers'."),
        (GOOD.replace('"007"', "007"), "key target.items.1: identifiers are text: write '7' in quotes (found 7)"),
        (GOOD.replace("size: 20\n", ""), "key size: Field required; correct it there, see docs/campaigns.md."),
        (GOOD.replace("size: 20", "size: 0"), "key size: Input should be greater than or equal to 1 (found 0)"),
        (GOOD + "holdout_share: 1\n", "key holdout_share: Input should be less than 1 (found 1)"),
        (GOOD + "min_score: 70\n", "key min_score: Input should be less than or equal to 1 (found 70)"),
        (GOOD.replace("id: silk", "id: hero:silk"), "key id: String should match pattern"),
        (GOOD.replace("id: silk", "id: Silk"), "key id: String should match pattern"),
        (
            GOOD.replace("size", "  theme: silk\nsize"),
            "key target: name exactly one of items, theme and segment (found items and theme)",
        ),
        (
            GOOD.replace("items: [A-1, \"007\", A-1]", "theme: '  '"),
            "key target: theme must have words",
        ),
        (
            GOOD.replace("items: [A-1, \"007\", A-1]", "segment: Silk") + "exclude: {buyers: true}\n",
            "exclude.buyers needs articles in the target",
        ),
        (
            GOOD.replace("items: [A-1, \"007\", A-1]", "segment: Silk") + "judged_by: best\n",
            "judged_by needs articles in the target",
        ),
        (
            GOOD + "valid_from: 2026-07-01\nvalid_until: 2026-06-01\n",
            "valid_from (2026-07-01) must not lie after valid_until (2026-06-01)",
        ),
        (GOOD + "valid_from: soon\n", "key valid_from: Input should be a valid date"),
        ("- a\n", "must hold a mapping of keys to values; see docs/campaigns.md."),
        (GOOD + "size: 21\n", "is not valid YAML at line 6 (the key 'size' stands there twice)"),
    ],
)  # fmt: skip
def test_mistakes_are_named_with_key_rule_and_mend(tmp_path: Path, text: str, said: str) -> None:
    assert said in refusal(tmp_path, text)


def test_a_missing_file_suggests_its_neighbour(tmp_path: Path) -> None:
    written(tmp_path, GOOD)
    with pytest.raises(ConfigurationError, match=r"the brief does not exist; did you mean .*silk\.yaml"):
        load_brief(tmp_path / "slik.yaml")


def test_a_list_of_clients_lies_beside_its_brief_unless_it_has_an_address(tmp_path: Path) -> None:
    beside = load_brief(written(tmp_path, GOOD + "exclude: {clients_file: vip.txt}\n"))
    assert beside.exclude.clients_file == str(tmp_path / "vip.txt")
    elsewhere = load_brief(written(tmp_path, GOOD + "exclude: {clients_file: 's3a://x/vip.txt'}\n"))
    assert elsewhere.exclude.clients_file == "s3a://x/vip.txt"


def test_a_folder_is_read_in_the_order_of_ids_and_an_id_is_used_once(tmp_path: Path) -> None:
    written(tmp_path, GOOD.replace("silk", "zebra"), "a.yaml")
    written(tmp_path, GOOD, "b.yml")
    written(tmp_path, "not a brief", "notes.txt")
    assert [brief.id for brief in load_briefs([str(tmp_path), str(tmp_path / "a.yaml")])] == ["silk", "zebra"]
    written(tmp_path, GOOD, "c.yaml")
    with pytest.raises(ConfigurationError, match=r"key id: 'silk' is the id of .* already; give each"):
        load_briefs([str(tmp_path)])
    assert load_briefs([]) == []


@given(
    st.dates(datetime.date(2026, 1, 1), datetime.date(2026, 12, 31)),
    st.dates(datetime.date(2026, 1, 1), datetime.date(2026, 12, 31)),
    st.dates(datetime.date(2026, 1, 1), datetime.date(2026, 12, 31)),
)
def test_both_ends_of_the_dates_are_nights_of_the_campaign(
    one: datetime.date, other: datetime.date, night: datetime.date
) -> None:
    first, last = sorted([one, other])
    brief = Brief.model_validate(
        {
            "id": "x",
            "name": "X",
            "target": {"theme": "x"},
            "size": 1,
            "valid_from": first,
            "valid_until": last,
        }
    )
    assert brief.runs_on(night) == (first <= night <= last)
    assert brief.model_copy(update={"valid_from": None, "valid_until": None}).runs_on(night)


def test_another_request_has_another_fingerprint(tmp_path: Path) -> None:
    one = load_brief(written(tmp_path, GOOD))
    same = load_brief(written(tmp_path, "# a remark\n" + GOOD, "same.yaml"))
    other = load_brief(written(tmp_path, GOOD.replace("20", "21"), "other.yaml"))
    assert one.fingerprint() == same.fingerprint() != other.fingerprint()


def test_the_command_says_what_good_briefs_ask_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = written(tmp_path, GOOD + "holdout_share: 0.1\nvalid_from: 2026-06-01\n")
    assert main(["campaign", "check", str(file)]) == 0
    assert capsys.readouterr().out == (
        "silk: 2 articles, at most 20 clients, 10% of them held out, from 2026-06-01: ok\n"
    )


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["{folder}/silk.yaml"], "key sise: is not a known setting; did you mean 'size'."),
        (["{folder}/empty"], "holds no brief; name a file, or a folder of *.yaml files."),
        (
            ["{folder}/silk.yaml", "--set", "lake.root=x"],
            "--set: overrides a configuration, and none is given; add",
        ),
    ],
)
def test_the_command_refuses_in_one_line_with_code_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], said: str
) -> None:
    written(tmp_path, GOOD.replace("size", "sise"))
    (tmp_path / "empty").mkdir()
    assert main(["campaign", "check", *(text.format(folder=tmp_path) for text in arguments)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert said in line


def test_a_theme_shows_its_nearest_articles_once_they_are_known() -> None:
    brief = Brief.model_validate({"id": "sea", "name": "Sea", "target": {"theme": "the sea"}, "size": 9})
    assert brief_lines([brief], {}) == ["sea: theme 'the sea', at most 9 clients, 0% of them held out: ok"]
    titles = [f"title {place}" for place in range(7)]
    assert brief_lines([brief], {"sea": titles})[1:] == [
        "    7 articles stand for it, the nearest are:",
        *(f"    - {title}" for title in titles[:5]),
    ]


def test_the_briefs_of_the_repository_are_good() -> None:
    briefs = load_briefs([str(Path(__file__).parents[2] / "conf" / "campaigns")])
    assert {brief.target.kind for brief in briefs} == {"items", "theme", "segment"}
