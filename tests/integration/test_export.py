"""The export stage on a small lake made by hand: files, manifest, repetition, and the report's figures."""

from __future__ import annotations

import csv
import datetime
import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from pyarrow import parquet

from isrf_pipeline.config import Settings
from isrf_pipeline.errors import InputRefusedError
from isrf_pipeline.exports import write_parquet_folder
from isrf_pipeline.exports.current import mark_current_night
from isrf_pipeline.lake import Lake, Table, bi_tables, tables
from isrf_pipeline.publication.record import record_publication
from isrf_pipeline.report import ReportFigures, gather_figures, render_report
from isrf_pipeline.report.clients import chosen_clients
from isrf_pipeline.report.figures import (
    AnswerFigure,
    ChosenModel,
    DeadLetterFigure,
    HeroFigure,
    ModelScore,
    NamedCount,
    QuarantineFigure,
    RoundFigure,
)
from isrf_pipeline.stages import export
from isrf_pipeline.stages.context import StageContext
from isrf_pipeline.stages.export import STAGE

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

pytestmark = pytest.mark.spark

NIGHT = datetime.date(2026, 3, 9)
BEFORE = datetime.date(2026, 3, 8)
#: Rows of the star schema: clients u1 to u5, articles i1 to i4 and the unknown i9, no segment beside two.
STAR_ROWS = {
    "dim_client": 5,
    "dim_item": 5,
    "dim_segment": 3,
    "fact_recommendation": 5,
    "fact_segment_membership": 3,
    "fact_hero_item": 2,
    "fact_related_item": 2,
    "fact_audience": 3,
    "dim_night": 1,
}
HOSTILE_TITLE = "<script>alert('x')</script>"


def at(day: int, hour: int = 12) -> datetime.datetime:
    return datetime.datetime(2026, 3, day, hour)


def rows() -> list[tuple[Table, list[tuple[Any, ...]]]]:
    """Rows of every table that the stage reads, in no order."""

    def offer(
        night: datetime.date,
        user: str,
        rank: int,
        item: str,
        share: float,
        because: list[str],
        segment: str | None,
    ) -> tuple[Any, ...]:
        return (
            night,
            user,
            rank,
            item,
            1.0 / rank,
            share,
            1 - share,
            f"Goes with {item}.",
            because,
            segment,
            None,
        )

    def item(name: str, title: str | None, category: str, available: bool = True) -> tuple[Any, ...]:
        return (name, title, "Aurèle", [category, "all"], None, 120.0, {}, available, None, "0" * 64)

    def stage(run: str, name: str, seconds: float, hour: int, calls: int = 0) -> tuple[Any, ...]:
        return (
            run, NIGHT, name, "done", at(9, hour), at(9, hour), seconds, 10, 20, calls, calls * 100, {}, "cfg-" + run,
            "0.1.0", None, {}, hour,
        )  # fmt: skip

    def metric(name: str, slice_: str, value: float, night: datetime.date = NIGHT) -> tuple[Any, ...]:
        return (night, name, slice_, float(value))

    def answer(key: str, kind: str, status: str, reason: str | None) -> tuple[Any, ...]:
        return (key, kind, "i1", "h", "m", "1", "{}", status, reason, None, None, 1, 1, 1, 0, at(9), "r1")

    vector = [1.0, 0.0]
    return [
        (tables.RECOMMENDATIONS, [
            offer(NIGHT, "u2", 2, "i2", 0.0, [], "s1"),
            offer(NIGHT, "u2", 1, "i3", 0.75, ["i1"], "s1"),
            offer(NIGHT, "u1", 1, "i2", 1.0, ["i1", "i4"], "s1"),
            offer(NIGHT, "u3", 1, "i1", 0.5, ["i2"], "s2"),
            offer(NIGHT, "u4", 1, "i1", 0.0, [], None),
            offer(BEFORE, "u1", 1, "i3", 1.0, ["i1"], "s1"),
            offer(BEFORE, "u9", 1, "i3", 1.0, ["i1"], "s1"),
        ]),
        (tables.SEGMENTS, [
            (NIGHT, "s1", "Leather, quiet", "Clients who like leather.", 2, ["leather", "quiet"]),
            (NIGHT, "s2", "=HYPERLINK()", "Clients who like formulas.", 1, ["formula"]),
            (BEFORE, "s1", "Old name", "Old.", 9, []),
        ]),
        (tables.ITEMS, [
            item("i1", 'Calf bag "Étrier", small', "bags"),
            item("i2", HOSTILE_TITLE, "scarves"),
            item("i3", "=1+1\r\nsecond line", "scarves"),
            item("i4", None, "belts", available=False),
        ]),
        (tables.CLIENTS, [("u1", {}, True), ("u2", {}, True), ("u3", {}, False), ("u4", {}, True), ("u5", {}, True)]),
        (tables.INTERACTIONS, [
            *[("u1", name, "view", at(day), 0.3, "r1") for name, day in (("i1", 1), ("i2", 2), ("i3", 3), ("i4", 4))],
            ("u1", "i1", "purchase", at(2), 1.0, "r1"),
            ("u2", "i1", "wishlist", at(5), 0.6, "r1"),
            ("u3", "i2", "view", at(6), 0.3, "r1"),
        ]),
        (tables.QUARANTINE, [
            ("views", "h1", "{}", "missing_user_id", NIGHT, "r1"),
            ("views", "h2", "{}", "missing_user_id", NIGHT, "r1"),
            ("items", "h3", "{}", "negative_price", NIGHT, "r1"),
            ("items", "h4", "{}", "negative_price", BEFORE, "r0"),
        ]),
        (tables.ANSWERS, [
            answer("f1", "item.forward", "ok", None),
            answer("f2", "item.forward", "dead", "not valid JSON"),
            answer("f3", "item.backward", "ok", None),
        ]),
        (tables.ITEM_FEATURES, [
            ("i1", "A bag for <b>riders</b>.", "Riders.", None, ["leather"], "llm", None, vector, None, None, None,
             vector),
            ("i2", "A scarf.", "All.", None, [], "llm", None, vector, None, None, None, vector),
            ("i3", None, None, None, [], "attributes", "not valid JSON", vector, None, None, None, vector),
            ("i4", None, None, None, [], "attributes", None, vector, None, None, None, vector),
        ]),
        (tables.USER_FEATURES, [("u1", "Loves leather.", "llm", None, vector), ("u2", None, "history", None, None)]),
        (tables.INTEREST_MODEL, [(NIGHT, 2, 0.1, 0.2, 0.0, 0.7, 1.0, 0.3, 0.6, "ranker", 0.08)]),
        (tables.SEGMENT_MEMBERS, [(NIGHT, "s1", "u1", 0.5), (NIGHT, "s1", "u2", 1.0), (NIGHT, "s2", "u3", 1.0)]),
        (tables.RELATED_ITEMS, [
            (NIGHT, "i1", 1, "i2", 2.0, "followed_by"),
            (NIGHT, "i1", 2, "i9", 1.0, "followed_by"),
        ]),
        (tables.AUDIENCES, [
            (NIGHT, "hero:i1", "u4", 2, 0.5),
            (NIGHT, "hero:i1", "u2", 1, 1.0),
            (NIGHT, "hero:i1", "u3", 3, 0.25),
            (BEFORE, "hero:i1", "u1", 1, 1.0),
        ]),
        (tables.HERO_ITEMS, [(NIGHT, "i4", 2, 1, 5, 1.5), (NIGHT, "i1", 1, 2, 12, 3.25)]),
        (tables.PUBLICATIONS, [
            (1, BEFORE, "r0", at(8, 4), "published", {}), (2, NIGHT, "r1", at(9, 4), "published", {}),
        ]),
        (tables.RUNS, [
            stage("r1", "recommend", 9.0, 4),
            stage("r1", "ingest", 5.0, 1),
            stage("r1", "reason_items", 60.0, 2, calls=8),
            stage("r2", "recommend", 7.0, 6),
            stage("r1", "export", 99.0, 5),
        ]),
        (tables.METRICS, [
            metric("evaluate.isrf.HR@10", "all", 0.15),
            metric("evaluate.popularity.HR@10", "all", 0.05),
            metric("evaluate.clients_measured", "all", 3),
            metric("evaluate.isrf.HR@10", "all", 0.99, BEFORE),
            metric("optimize.round.alignment", "round=1", 0.6),
            metric("interaction_graph.edges", "interacted", 5),
        ]),
    ]  # fmt: skip


def context(spark: SparkSession, root: Path, run_id: str = "r3", **exporting: object) -> StageContext:
    settings = Settings.model_validate(
        {
            "environment": "test",
            "lake": {"root": str(root)},
            "export": {"crm_recommendations": 2, "example_clients": 3, **exporting},
        }
    )
    return StageContext(spark, settings, Lake(spark, settings.lake), NIGHT, run_id, published=True)


@pytest.fixture(scope="module")
def lake_folder(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("export") / "lake"
    lake = context(spark, root).lake
    for table, content in rows():
        # One commit a table; Lake.overwrite would add constraints, which are not what is tested here.
        whole = [(*row, *[None] * (len(table.columns) - len(row))) for row in content]
        frame = spark.createDataFrame(whole, table.ddl()).coalesce(1)
        frame.write.format("delta").save(lake.path(table))
    return root


@pytest.fixture(scope="module")
def exported(spark: SparkSession, lake_folder: Path) -> Path:
    """The night's folder after the stage ran once."""
    ctx = context(spark, lake_folder)
    STAGE.run(ctx)
    # Lists as CSV and as JSON lines, audiences, no rejected row; the star as Delta and as Parquet.
    assert ctx.counters.rows_out == 3 + 3 + 2 + 0 + 2 * sum(STAR_ROWS.values())
    return lake_folder / "exports" / "2026-03-09"


@pytest.fixture(scope="module")
def figures(spark: SparkSession, lake_folder: Path) -> ReportFigures:
    return gather_figures(context(spark, lake_folder))


def test_the_crm_file_holds_one_consenting_client_a_row(exported: Path) -> None:
    with (exported / "crm_recommendations.csv").open(encoding="utf-8", newline="") as text:
        table = list(csv.reader(text, strict=True))
    assert table[0] == [
        "user_id", "segment_id", "segment_name", "rec_1_item_id", "rec_1_title", "rec_1_reason", "rec_2_item_id",
        "rec_2_title", "rec_2_reason",
    ]  # fmt: skip
    assert table[1:] == [
        ["u1", "s1", "Leather, quiet", "i2", HOSTILE_TITLE, "Goes with i2.", "", "", ""],
        ["u2", "s1", "Leather, quiet", "i3", "'=1+1 second line", "Goes with i3.", "i2", HOSTILE_TITLE,
         "Goes with i2."],
        ["u4", "", "", "i1", 'Calf bag "Étrier", small', "Goes with i1.", "", "", ""],
    ]  # fmt: skip


def test_the_crm_file_is_rfc_4180_to_the_byte(exported: Path) -> None:
    content = (exported / "crm_recommendations.csv").read_bytes()
    assert not content.startswith(b"\xef\xbb\xbf")
    assert content.endswith(b"\r\n") and content.count(b"\r\n") == content.count(b"\n") == 4
    assert '"u4","","","i1","Calf bag ""Étrier"", small","Goes with i1.","","",""\r\n'.encode() in content


def test_the_json_lines_hold_the_same_clients_with_their_lists_as_they_are(exported: Path) -> None:
    content = (exported / "crm_recommendations.jsonl").read_bytes()
    assert content.endswith(b"}\n") and b"\r" not in content
    lists = [json.loads(line) for line in content.splitlines()]
    assert [row["user_id"] for row in lists] == ["u1", "u2", "u4"]
    assert lists[1] == {
        "run_date": "2026-03-09",
        "user_id": "u2",
        "segment_id": "s1",
        "segment_name": "Leather, quiet",
        "recommendations": [
            {
                "rank": 1,
                "item_id": "i3",
                "title": "=1+1\r\nsecond line",
                "reason": "Goes with i3.",
                "score": 1.0,
                "explicit_share": 0.75,
                "implicit_share": 0.25,
                "because_items": ["i1"],
            },
            {
                "rank": 2,
                "item_id": "i2",
                "title": HOSTILE_TITLE,
                "reason": "Goes with i2.",
                "score": 0.5,
                "explicit_share": 0.0,
                "implicit_share": 1.0,
                "because_items": [],
            },
        ],
    }
    assert (lists[2]["segment_id"], lists[2]["segment_name"]) == (None, None)


def test_audiences_hold_the_consenting_clients_of_the_night(exported: Path) -> None:
    assert (exported / "audiences.csv").read_text(encoding="utf-8").splitlines() == [
        '"campaign_id","user_id","rank","score","reason"',
        '"hero:i1","u2",1,1.0,""',
        '"hero:i1","u4",2,0.5,""',
    ]


def test_the_star_lies_beside_them_and_in_the_lake(
    spark: SparkSession, lake_folder: Path, exported: Path
) -> None:
    lake = context(spark, lake_folder).lake
    for table in bi_tables.STAR_TABLES:
        name = table.name.removeprefix("bi.")
        folder = exported / "bi" / name
        assert [path.name for path in folder.iterdir()] == ["part-00000.parquet"]
        assert parquet.read_metadata(folder / "part-00000.parquet").num_rows == STAR_ROWS[name]
        stored = lake.read(table)
        assert stored.count() == STAR_ROWS[name]
        assert {field.name: field.metadata["comment"] for field in stored.schema.fields} == {
            column.name: column.comment for column in table.columns
        }


def test_an_older_night_adds_its_facts_and_leaves_the_newest_clients(
    spark: SparkSession, lake_folder: Path, exported: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export, "write_report", lambda ctx, path: path.touch())
    ctx = context(spark, lake_folder, profiles=[], bi=["delta"])
    ctx.run_date = BEFORE
    STAGE.run(ctx)
    nights = {row["run_date"]: row["is_current"] for row in ctx.lake.read(bi_tables.DIM_NIGHT).collect()}
    assert nights == {BEFORE: False, NIGHT: True}
    facts = ctx.lake.read(bi_tables.FACT_RECOMMENDATION).groupBy("run_date").count().collect()
    assert {row["run_date"]: row["count"] for row in facts} == {BEFORE: 2, NIGHT: 5}
    assert {row["as_of"] for row in ctx.lake.read(bi_tables.DIM_CLIENT).collect()} == {NIGHT}
    assert {path.name for path in (exported.parent / "2026-03-08").iterdir()} == {
        "audiences.csv",
        "manifest.json",
        "rejected_rows.csv",
        "report.html",
    }
    # What is newest stays newest.
    assert json.loads((exported.parent / "latest.json").read_bytes())["run_date"] == "2026-03-09"
    # Until operations go back; and the next night that is published is current again.
    for night, action in ((BEFORE, "rolled back"), (NIGHT, "published")):
        record_publication(ctx.lake, night, "r", action, {})
        mark_current_night(ctx.lake)
        marked = ctx.lake.read(bi_tables.DIM_NIGHT).where("is_current").collect()
        assert [row["run_date"] for row in marked] == [night]


def test_the_manifest_is_true_and_nothing_else_lies_about(exported: Path) -> None:
    manifest = json.loads((exported / "manifest.json").read_text(encoding="utf-8"))
    assert manifest["run_date"] == "2026-03-09"
    listed = {entry["path"]: entry for entry in manifest["files"]}
    found = {path.relative_to(exported).as_posix() for path in exported.rglob("*") if path.is_file()}
    assert found == {*listed, "manifest.json"}
    for name, entry in listed.items():
        content = (exported / name).read_bytes()
        assert entry["sha256"] == hashlib.sha256(content).hexdigest() and entry["bytes"] == len(content)
    assert listed["crm_recommendations.csv"]["rows"] == 3
    assert listed["bi/fact_recommendation/part-00000.parquet"]["rows"] == 5
    assert {"audiences.csv", "rejected_rows.csv", "report.html"} < set(listed)
    names = {path.name for path in exported.parent.iterdir()}
    assert names - {"2026-03-08"} == {"2026-03-09", "latest.json"}
    latest = json.loads((exported.parent / "latest.json").read_bytes())
    digest = hashlib.sha256((exported / "manifest.json").read_bytes()).hexdigest()
    assert latest["manifest"] == {"path": "2026-03-09/manifest.json", "sha256": digest}


def test_the_report_shows_the_night_and_escapes_the_catalogue(exported: Path) -> None:
    page = (exported / "report.html").read_text(encoding="utf-8")
    assert "9 March 2026" in page and "4 of 5 clients" in page
    assert "<script" not in page and "&lt;script&gt;alert" in page
    assert "A bag for &lt;b&gt;riders&lt;/b&gt;." in page


def test_a_second_run_of_the_night_replaces_the_files_with_the_same(
    spark: SparkSession, lake_folder: Path, exported: Path
) -> None:
    before = {path: path.read_bytes() for path in exported.rglob("*") if path.is_file()}
    STAGE.run(context(spark, lake_folder, run_id="r4"))
    assert {path: path.read_bytes() for path in exported.rglob("*") if path.is_file()} == before


def test_a_night_that_is_not_published_leaves_no_file(spark: SparkSession, tmp_path: Path) -> None:
    with pytest.raises(InputRefusedError, match=r"night 2026-03-09: is not published"):
        STAGE.run(context(spark, tmp_path / "lake"))
    assert not (tmp_path / "lake").exists()


def test_parquet_does_not_depend_on_partitions_or_order_of_rows(spark: SparkSession, tmp_path: Path) -> None:
    content = [(f"u{number:03d}", rank, f"x{number}") for number in range(60) for rank in (1, 2)]
    contents = []
    for place, (given, partitions) in enumerate(((content, 1), (content[::-1], 5))):
        folder = tmp_path / str(place)
        folder.mkdir()
        frame = spark.createDataFrame(given, "user_id string, rank int, item_id string").repartition(
            partitions
        )
        contents.append(
            write_parquet_folder(frame, folder, "bi/facts", "user_id", ("user_id", "rank"), files=3)
        )
    assert contents[0] == contents[1]
    assert sum(file.rows or 0 for file in contents[0]) == 120 and len(contents[0]) == 3


def test_an_empty_parquet_folder_still_has_a_schema(spark: SparkSession, tmp_path: Path) -> None:
    empty = spark.createDataFrame([], "user_id string, rank int")
    (part,) = write_parquet_folder(empty, tmp_path, "bi/facts", "user_id", ("user_id",))
    assert part.rows == 0
    assert parquet.read_table(tmp_path / "bi" / "facts").column_names == ["user_id", "rank"]


def test_figures_count_this_night_only(figures: ReportFigures) -> None:
    assert (figures.clients, figures.clients_served, figures.recommendations) == (5, 4, 5)
    assert (figures.items, figures.items_available, figures.items_recommended) == (4, 3, 3)
    assert figures.events == (NamedCount("view", 5), NamedCount("purchase", 1), NamedCount("wishlist", 1))
    assert figures.quarantine == (
        QuarantineFigure("items", "negative_price", 1),
        QuarantineFigure("views", "missing_user_id", 2),
    )
    assert figures.scores == (ModelScore("isrf", {"HR@10": 0.15}), ModelScore("popularity", {"HR@10": 0.05}))
    assert figures.clients_measured == 3
    assert figures.rounds == (RoundFigure(1, {"alignment": 0.6}),)
    assert figures.chosen == ChosenModel(2, 0.1, 0.2, 0.0, 0.7, 0.3, "ranker")
    assert (figures.segment_count, figures.segmented_clients) == (2, 3)
    assert [segment.name for segment in figures.segments] == ["Leather, quiet", "=HYPERLINK()"]
    assert figures.heroes == (
        HeroFigure("i1", 'Calf bag "Étrier", small', "Aurèle", 2, 12, 3.25),
        HeroFigure("i4", "i4", "Aurèle", 1, 5, 1.5),
    )


def test_stages_are_the_newest_of_the_night_in_their_order(figures: ReportFigures) -> None:
    assert [(stage.stage, stage.seconds) for stage in figures.stages] == [
        ("ingest", 5.0),
        ("reason_items", 60.0),
        ("recommend", 7.0),
    ]
    assert (figures.wall_seconds, figures.llm_calls, figures.llm_tokens) == (72.0, 8, 800)
    assert figures.config_hash == "cfg-r2"


def test_reasoning_figures(figures: ReportFigures) -> None:
    reasoning = figures.reasoning
    assert reasoning.small_model
    assert reasoning.item_origins == (NamedCount("attributes", 2), NamedCount("llm", 2))
    assert reasoning.user_origins == (NamedCount("history", 1), NamedCount("llm", 1))
    assert reasoning.missing_reasons == (NamedCount("not stated", 1), NamedCount("not valid JSON", 1))
    assert reasoning.answers == (AnswerFigure("item.backward", 1, 0), AnswerFigure("item.forward", 1, 1))
    assert reasoning.dead_letters == (DeadLetterFigure("item.forward", "not valid JSON", 1),)
    assert {example.item_id for example in reasoning.examples} == {"i1", "i2"}


def test_examples_show_history_grounds_and_one_client_a_segment(figures: ReportFigures) -> None:
    assert len(figures.examples) == 3
    assert {example.segment for example in figures.examples} == {"Leather, quiet", "=HYPERLINK()", None}
    (leather,) = [example for example in figures.examples if example.segment == "Leather, quiet"]
    # u1 and not u2: its history is long enough for a picture.
    assert (leather.user_id, leather.interest, leather.items_known) == ("u1", "Loves leather.", 4)
    assert [(item.item_id, item.event_type, item.day.day) for item in leather.history] == [
        ("i4", "view", 4),
        ("i3", "view", 3),
        ("i1", "purchase", 2),
        ("i2", "view", 2),
    ]
    assert leather.recommendations[0].because_items == ("i1", "i4")
    (new,) = [example for example in figures.examples if example.segment is None]
    assert (new.user_id, new.items_known, new.history) == ("u4", 0, ())


def test_chosen_clients_come_from_every_segment_before_a_second_of_one(spark: SparkSession) -> None:
    lists = spark.createDataFrame(
        [(f"u{number}", "large" if number < 8 else "small") for number in range(10)] + [("x", None)],
        "user_id string, segment_id string",
    )
    events = lists.selectExpr("user_id", "explode(array('a', 'b', 'c')) AS item_id")
    first = [tuple(row) for row in chosen_clients(lists, events, 5).collect()]
    again = [tuple(row) for row in chosen_clients(lists.repartition(4), events.repartition(3), 5).collect()]
    assert first == again
    assert [segment for _, segment, _ in first[:3]] == ["large", "small", None]
    assert len({user for user, _, _ in first}) == 5


def test_an_empty_lake_gives_an_empty_report(spark: SparkSession, tmp_path: Path) -> None:
    figures = gather_figures(context(spark, tmp_path / "lake"))
    assert (figures.clients, figures.stages, figures.examples, figures.scores) == (0, (), (), ())
    assert "No recommendations were written for this night." in render_report(figures)
