"""The page: safe with hostile text, whole without most of its figures, readable by everyone."""

from __future__ import annotations

import datetime
import re
from dataclasses import replace
from html.parser import HTMLParser
from importlib import resources

import pytest

from isrf_pipeline.report.charts import line_chart, link_curves
from isrf_pipeline.report.figures import (
    AnswerFigure,
    CampaignFigure,
    ChosenModel,
    ClientExample,
    ClientRecommendation,
    DeadLetterFigure,
    FeatureExample,
    GateFigure,
    HeroFigure,
    HistoryItem,
    MeasureTable,
    ModelScore,
    NamedCount,
    NightFigure,
    OverlapFigure,
    QuarantineFigure,
    ReasoningFigures,
    ReportFigures,
    RoundFigure,
    SegmentFigure,
    StageFigure,
    WordsFigure,
)
from isrf_pipeline.report.headline import accuracy_sentence, changes_sentence, headline
from isrf_pipeline.report.page import render_report
from isrf_pipeline.report.rules import RuleFigure, RulesFigures, rules_figures

NIGHT = datetime.date(2026, 3, 9)
HOSTILE = "<script>alert('x')</script>\"><img src=x onerror=alert(1)>"
VOID = {"meta", "br", "hr", "img", "link", "input", "wbr"}


def full_figures(text: str = "Silk scarf") -> ReportFigures:
    """Figures of every kind, each text being ``text``."""
    example = ClientExample(
        text,
        text,
        text,
        2,
        (HistoryItem("a", text, text, text, NIGHT), HistoryItem("b", text, None, "view", NIGHT)),
        (
            ClientRecommendation(1, "x", text, text, text, 0.7, 0.3, ("b", "gone")),
            ClientRecommendation(2, "y", text, None, text, 0.0, 0.0, ()),
        ),
    )
    return ReportFigures(
        NIGHT,
        text,
        code_version=text,
        config_hash=text,
        clients=40,
        clients_served=39,
        recommendations=390,
        items=9,
        items_available=8,
        items_recommended=7,
        events=(NamedCount(text, 5),),
        stages=(
            StageFigure("ingest", "done", 2.0, None, 5),
            StageFigure("optimize", "failed", 3.0, 1, 0, 7, 9, text),
        ),
        quarantine=(QuarantineFigure(text, text, 3),),
        ingest_measures=(MeasureTable("ingest", ("rows",), ((text, (3.0,)),)),),
        scores=(
            ModelScore("isrf", {"HR@5": 0.1, "NDCG@5": 0.06, "HR@10": 0.15, "NDCG@10": 0.0832}),
            ModelScore(text, {"HR@10": 0.05}),
        ),
        gates=(
            GateFigure(text, 0.5, 0.9, True, False, text, text),
            GateFigure("score_drift", None, 0.25, False, None, text, text),
        ),
        changes=(NamedCount(text, 3),),
        nights=(
            NightFigure(NIGHT, False, False, 2, 60.0, 5, (text,), (NamedCount("more_events", -12),), 2),
            NightFigure(NIGHT - datetime.timedelta(days=1), True, True, 1, 50.0, 0),
        ),
        segments_died=1,
        clients_measured=31,
        reasoning=ReasoningFigures(
            "engine",
            "bundled",
            True,
            (NamedCount("llm", 7), NamedCount(text, 2)),
            (NamedCount("composed", 40),),
            (NamedCount(text, 2),),
            (AnswerFigure(text, 7, 2),),
            (DeadLetterFigure(text, text, 2),),
            (FeatureExample("a", text, text, text, text, None, (text,)),),
            (WordsFigure("tags", 0.35, 0.0021, 0.0007), WordsFigure("interest", 0.0, -0.0004, 0.0005)),
        ),
        graphs=(MeasureTable("user_graph", (text, "edges"), ((text, (None, 4.0)),)),),
        rounds=(
            RoundFigure(0, {"validation_ndcg@10": 0.07}),
            RoundFigure(1, {"validation_ndcg@10": 0.08, "neighbour_overlap": 0.5}),
        ),
        chosen=ChosenModel(1, 0.0, 0.2, 0.1, 0.7, 0.0, "fusion"),
        segment_count=3,
        segmented_clients=38,
        segments=(SegmentFigure("s", text, text, 20, (text,), "kept", 18, (text,), (text, text)),),
        heroes=(HeroFigure("x", text, text, 2, 12, 3.25),),
        campaigns=(
            CampaignFigure(
                text,
                text,
                "items",
                None,
                False,
                200,
                150,
                14,
                (NamedCount("no_consent", 60),),
                (OverlapFigure(text, 30, 0.2),),
            ),
            CampaignFigure("second", text, "theme", text, True, 100, 0, 0),
        ),
        rules=RulesFigures((RuleFigure(text, text, 3, 2, 4),), 50, 4, 1, 6, 1, 2, ((text, 0.1, 0.09),)),
        examples=(example,),
    )


class Outline(HTMLParser):
    """Collects elements and attributes, and checks that elements close in order."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] not in ("style", "title"):
            self.text += data


def outline(page: str) -> Outline:
    parsed = Outline()
    parsed.feed(page)
    assert parsed.open == []
    return parsed


@pytest.mark.parametrize("figures", [full_figures(), full_figures(HOSTILE), ReportFigures(NIGHT, "local")])
def test_the_page_runs_nothing_and_loads_nothing(figures: ReportFigures) -> None:
    parsed = outline(render_report(figures))
    tags = {tag for tag, _ in parsed.elements}
    assert tags.isdisjoint(
        {"script", "img", "link", "iframe", "object", "embed", "image", "use", "base", "form"}
    )
    for tag, attributes in parsed.elements:
        assert not [name for name in attributes if name.startswith("on")]
        assert "src" not in attributes
        if "href" in attributes:
            assert tag == "a" and str(attributes["href"]).startswith("#")
    style = resources.files("isrf_pipeline.report").joinpath("style.css").read_text(encoding="utf-8")
    assert "url(" not in style and "@import" not in style


def test_hostile_text_is_shown_as_text_everywhere() -> None:
    plain, hostile = render_report(full_figures("Silk scarf")), render_report(full_figures(HOSTILE))
    assert "<script" not in hostile and "<img" not in hostile
    assert outline(hostile).text.count("<script>alert") >= 20
    assert [tag for tag, _ in outline(hostile).elements] == [tag for tag, _ in outline(plain).elements]


def test_the_same_figures_give_the_same_page() -> None:
    assert render_report(full_figures()) == render_report(full_figures())


def test_links_lead_to_sections_and_ids_are_unique() -> None:
    for figures in (full_figures(), ReportFigures(NIGHT, "local")):
        elements = outline(render_report(figures)).elements
        ids = [attributes["id"] for _, attributes in elements if "id" in attributes]
        assert len(ids) == len(set(ids))
        named = [attributes["href"] for tag, attributes in elements if tag == "a"]
        assert {str(href)[1:] for href in named} <= set(ids)
        for _, attributes in elements:
            for name in str(attributes.get("aria-labelledby") or "").split():
                assert name in ids


def test_words_that_did_not_help_are_said_to_be_left_out() -> None:
    page = render_report(full_figures()).split("model's words</caption>")[1].split("</table>")[0]
    rows = [re.findall(r'class="num">([^<]+)<', row) for row in page.split("<tbody>")[1].split("</tr>")[:2]]
    assert rows == [["0.35", "0.0021", "0.0007"], ["left out", "-0.0004", "0.0005"]]


def test_a_night_without_anything_is_still_a_page() -> None:
    text = outline(render_report(ReportFigures(NIGHT, "local"))).text
    for said in (
        "No recommendations were written for this night.",
        "No segments were found this night.",
        "No rule was counted this night.",
        "Nothing was measured this night",
        "No language model was asked.",
        "No rounds were recorded this night.",
        "No graph was measured this night.",
        "No row was quarantined this night.",
        "No stage was recorded for this night.",
    ):
        assert said in text


def test_the_small_model_and_missing_peers_are_admitted() -> None:
    figures = full_figures()
    assert "often wrong" in render_report(figures)
    large = replace(figures.reasoning, small_model=False, model="large")
    assert "often wrong" not in render_report(replace(figures, reasoning=large))
    alone = replace(figures, scores=figures.scores[:1])
    assert "No other recommender was run beside it" in render_report(alone)


def test_group_interest_that_did_not_help_is_admitted() -> None:
    figures = full_figures()
    assert "group interest did not improve the lists" in render_report(figures)
    helped = replace(figures, chosen=ChosenModel(1, 0.1, 0.2, 0.1, 0.7, 0.3, "ranker"))
    assert "group interest did not improve" not in render_report(helped)


def test_the_generator_is_named_where_it_has_weight() -> None:
    figures = full_figures()
    assert "what the generator writes" not in render_report(figures)
    written = replace(figures, chosen=ChosenModel(1, 0.1, 0.2, 0.1, 0.7, 0.3, "ranker"))
    assert "for what the generator writes" in render_report(written)


def test_alignment_that_was_switched_off_says_so() -> None:
    values = {
        "validation_ndcg@10": 0.08,
        "alignment_loss_before": 0.5,
        "alignment_loss_after": 0.25,
        "validation_ndcg@10_aligned": 0.07,
        "validation_ndcg@10_not_aligned": 0.08,
        "aligned": 0.0,
    }
    figures = replace(full_figures(), rounds=(RoundFigure(0, {}), RoundFigure(1, values)))
    said = "Validation was 0.0700 with profiles mapped by it and 0.0800 without, so it is switched off."
    assert said in render_report(figures)
    kept = replace(figures, rounds=(RoundFigure(1, {**values, "aligned": 1.0}),))
    assert "so they are mapped" in render_report(kept)


def test_grounds_are_named_by_letter_and_only_where_they_are_shown() -> None:
    offers = render_report(full_figures()).split('<ol class="offers">')[1].split("</ol>")[0]
    first, second = offers.split("<li>")[1:]
    assert re.findall(r'class="letter">(\w)<', first) == ["B"]
    assert "own 70" in first and "similar clients 30" in first
    assert "letter" not in second and "shares" not in second


def test_curves_join_the_middles_of_rows() -> None:
    (example,) = full_figures().examples
    # Second of two history rows is centred at 75 %, first of two recommendations at 25 %.
    assert re.findall(r'd="([^"]+)"', link_curves(example)) == ["M0 75.00C55 75.00 45 25.00 100 25.00"]
    assert link_curves(replace(example, history=())) == ""


def test_a_chart_says_what_it_shows() -> None:
    points = [(f"round {place}", value) for place, value in enumerate((0.2, 0.5, 0.4, 0.3, 0.1, 0.25))]
    chart = line_chart("k", "A <title>", points, lambda value: f"{value:.2f}")
    assert "A &lt;title&gt;</title>" in chart
    assert "round 1: 0.50; round 2: 0.40" in chart
    assert re.findall(r'class="value"[^>]*>([^<]+)<', chart) == ["0.20", "0.50", "0.25"]
    assert 'cy="nan"' not in line_chart("k", "One", [("round 0", 0.0)], str)


def test_the_headline_counts_and_compares() -> None:
    figures = full_figures()
    assert headline(figures) == (
        "39 of 40 clients across 3 segments have 10 recommendations each, every one with its reason."
    )
    everyone = replace(figures, clients=39, recommendations=97, segment_count=0)
    assert headline(everyone).startswith("All 39 clients have 2.5 recommendations each")
    said = accuracy_sentence(
        replace(figures, scores=(figures.scores[0], ModelScore("mllib_als", {"HR@10": 0.05})))
    )
    assert said is not None and "3.0 times as many as with MLlib ALS" in said
    worse = accuracy_sentence(
        replace(figures, scores=(figures.scores[0], ModelScore("popularity", {"HR@10": 0.3})))
    )
    assert worse is not None and "with Popularity more do" in worse
    assert accuracy_sentence(replace(figures, scores=())) is None


def test_campaigns_say_who_was_found_held_out_left_out_and_shared() -> None:
    page = render_report(full_figures()).split('<section id="campaigns"')[1].split("</section>")[0]
    first, second = page.split("<tbody>")[1].split("</tr>")[:2]
    assert re.findall(r'class="num"[^>]*>([^<]+)<', first) == ["200", "150", "14"]
    assert "no consent 60" in first and "30 (20\u202f%)" in first
    assert "by theme · skipped · <bdi>Silk scarf</bdi>" in second
    assert 'id="campaigns"' not in render_report(replace(full_figures(), campaigns=()))


def test_what_rules_did_stands_in_the_order_of_their_application() -> None:
    measured = {
        ("rules.withheld", "house_cap"): 7.0,
        ("rules.withheld", "availability"): 20.0,
        ("rules.withheld", "category_cap_2"): 1.0,
        ("rules.withheld", "new_arrivals"): 2.0,
        ("rules.places_given", "new_arrivals"): 3.0,
        ("rules.clients_affected", "new_arrivals"): 3.0,
        ("rules.clients_affected", "all"): 12.0,
        ("rules.plain_places", "all"): 100.0,
        ("rules.new_arrival_places", "all"): 9.0,
        ("rules.quota_unmet", "all"): 0.0,
        ("rules.unknown_values", "exclude.houses"): 1.0,
        ("rules.measured.with_rules.NDCG@10", "all"): 0.08,
        ("rules.measured.without_rules.NDCG@10", "all"): 0.09,
        ("evaluate.isrf.NDCG@10", "all"): 0.09,
    }
    found = rules_figures(measured)
    assert [(rule.name, rule.withheld, rule.given, rule.clients) for rule in found.rules] == [
        ("availability", 20, 0, 0),
        ("house_cap", 7, 0, 0),
        ("category_cap_2", 1, 0, 0),
        ("new_arrivals", 2, 3, 3),
    ]
    assert found.compared == (("Accuracy, NDCG@10", 0.09, 0.08),)
    text = " ".join(outline(render_report(replace(full_figures(), rules=found))).text.split())
    assert "Of 100 recommendations by the model alone, rules kept out 30." in text
    assert "12 clients have a list that differs by them; 0 have a shorter one." in text
    assert "New arrivals have 9 places; 0 clients have fewer of them than asked." in text
    assert "1 value of the rules means nothing in this catalogue" in text
    assert rules_figures({}) == RulesFigures()


def test_a_failed_stage_is_called_out() -> None:
    text = outline(render_report(full_figures("out of memory"))).text
    assert "Optimize failed: out of memory" in text


@pytest.mark.parametrize("scheme", [0, 1], ids=["light", "dark"])
def test_colours_have_enough_contrast(scheme: int) -> None:
    style = resources.files("isrf_pipeline.report").joinpath("style.css").read_text(encoding="utf-8")
    block = style.split(":root {")[1 + scheme].split("}")[0]
    colour = dict(re.findall(r"--(\w+): (#[0-9a-f]{6});", block))
    for ground in ("paper", "card"):
        for ink in ("ink", "quiet", "own", "alert"):
            assert contrast(colour[ink], colour[ground]) >= 4.5, (ink, ground)
        for graphic in ("group", "peer", "link"):
            assert contrast(colour[graphic], colour[ground]) >= 3, (graphic, ground)
    # Told apart by lightness, so also by those who do not see the hue.
    assert contrast(colour["own"], colour["group"]) >= 1.6


def contrast(one: str, other: str) -> float:
    """Contrast ratio of WCAG 2."""
    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def luminance(colour: str) -> float:
    channels = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_a_stopped_night_says_by_how_much_and_where_it_stands() -> None:
    text = outline(render_report(full_figures())).text
    assert "Not published: Silk scarf is 0.500 and must be at least 0.900" in text
    assert "Since the night before: 3 Silk scarf." in text
    assert "not published" in text and "current" in text
    assert "1 segment of the night before is no more" in " ".join(text.split())


def test_one_change_is_told_in_the_singular() -> None:
    changes = (
        NamedCount("articles_sold_out", 1),
        NamedCount("more_events", 588),
        NamedCount("new_clients", 1),
    )
    assert changes_sentence(replace(full_figures(), changes=changes)) == (
        "Since the night before: 1 article sold out, 588 more events, 1 new client."
    )
    fewer = (NamedCount("more_events", -8654),)
    assert changes_sentence(replace(full_figures(), changes=fewer)) == (
        "Since the night before: 8,654 fewer events."
    )


def test_a_night_tells_what_happened_to_it_and_what_its_sources_brought() -> None:
    page = render_report(full_figures()).split('<section id="nights"')[1]
    first, second = page.split("<tbody>")[1].split("</tr>")[:2]
    assert 'Silk scarf; 2 clients erased afterwards<div class="quiet">12 fewer events</div>' in first
    assert "nothing unusual</td>" in second
