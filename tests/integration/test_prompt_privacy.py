"""What the model reads of clients and items: their tastes and their make, never who they are."""

from __future__ import annotations

import datetime
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from acceptable_answers import ANSWERS
from pydantic import ValidationError

from isrf_pipeline.config import Settings, load_settings
from isrf_pipeline.config.settings import EngineSettings
from isrf_pipeline.errors import ConfigurationError
from isrf_pipeline.lake import Lake, Table, tables
from isrf_pipeline.reasoning.conversation import Chain, Completion, Conversation
from isrf_pipeline.reasoning.fingerprint import ModelIdentity, fingerprint
from isrf_pipeline.reasoning.items import item_subjects, price_band
from isrf_pipeline.reasoning.judging import AnswerRules
from isrf_pipeline.reasoning.steps import Mode, Subject, chain_of
from isrf_pipeline.stages import reason_items, reason_users
from isrf_pipeline.stages.context import StageContext

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

pytestmark = pytest.mark.spark

NIGHT = datetime.date(2026, 3, 1)
#: client, e-mail address, first name, phone, country, tier
CLIENTS = [
    ("CLI-0042817", "amelie.durand@example.com", "Amélie", "+33 6 12 34 56 78", "France", "platinum"),
    ("CLI-0042818", "b+shop@mail.example.co.uk", "Bartholomew", "020 7946 0123", "Scotland", "platinum"),
    ("CLI-0042819", "chiyo_sato@example.jp", "Chiyo", "03-1234-5678", "Japan", "platinum"),
]
#: item, title, address in its texts, first day on sale; no model was asked about the last one
ITEMS = [
    ("SKU-99120-X", "Silk Scarf", "atelier@maison-aurelle.example", "2025-11-03"),
    ("SKU-99121-Y", "Leather Tote", "Care.Team@example.com", "2025-11-02"),
    ("SKU-99122-Z", "Wool Coat", "press+coats@sub.example.org", "2025-11-01"),
    ("SKU-99123-W", "Suede Loafers", "shoes-24@example.fr", "2019-05-17"),
]
SEGMENT = "s-17"
SCARF, TOTE, COAT, LOAFERS = (row[0] for row in ITEMS)
IDENTITIES = [
    *(text for row in CLIENTS for text in row[:4]),
    *(text for item, _, address, _ in ITEMS for text in (item, address)),
    SEGMENT,
]


class AskedError(Exception):
    """Ends a stage where it would ask the model; holds the rows that it would ask about."""

    def __init__(self, subjects: list[Any]) -> None:
        super().__init__()
        self.subjects = subjects


@dataclass
class House:
    """A small lake whose texts are full of identities."""

    lake: Lake
    monkeypatch: pytest.MonkeyPatch

    def prompts(self, subject: Subject, mode: Mode, **users: Any) -> list[str]:
        """All that a reasoning stage asks of the model, each step twice; one text a request."""
        settings = Settings.model_validate(
            {
                "lake": {"root": self.lake.root},
                "split": {"policy": "none"},
                "reasoning": {"mode": mode, "users": users},
            }
        )
        stage = reason_items if subject == "item" else reason_users

        def asks(ctx: Any, subject: Any, subjects: Any, *more: Any, **options: Any) -> Any:
            raise AskedError(subjects.collect())

        self.monkeypatch.setattr(stage, "reason_over", asks)
        with pytest.raises(AskedError) as asked:
            stage.run(StageContext(self.lake.spark, settings, self.lake, NIGHT, "run"))
        assert asked.value.subjects
        return [
            text
            for row in asked.value.subjects
            for text in requests(Chain(row.subject, row.input), subject, mode)
        ]


def requests(chain: Chain, subject: Subject, mode: Mode) -> list[str]:
    """What the model reads on one subject's way through its chain, each first attempt refused."""
    steps = chain_of(subject, mode)
    conversation = Conversation(chain, steps, ModelIdentity.of(EngineSettings()), AnswerRules(language=None))
    told = []
    outcome = conversation.advance(None)
    while not isinstance(outcome, list):
        told.append("\n".join(turn["content"] for turn in outcome.messages))
        fields = {name: ANSWERS[name] for name in outcome.step.answer.model_fields}
        first = len(told) % 2 == 1
        outcome = conversation.advance(Completion("I think" if first else json.dumps(fields), 10, 5))
    assert [row.status for row in outcome] == ["ok"] * len(steps)
    return told


@pytest.fixture(scope="module")
def filled_lake(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Lake:
    root = tmp_path_factory.mktemp("privacy") / "lake"
    lake = Lake(spark, Settings.model_validate({"lake": {"root": str(root)}}).lake)

    def fill(table: Table, rows: list[tuple[Any, ...]]) -> None:
        lake.overwrite(table, spark.createDataFrame(rows, table.ddl()))

    names = ("email", "first_name", "phone", "country", "tier")
    fill(tables.CLIENTS, [(user, dict(zip(names, values, strict=True)), True) for user, *values in CLIENTS])
    fill(tables.ITEMS, [catalogue_row(*row) for row in ITEMS])
    fill(tables.ITEM_FEATURES, [features_row(item, asked=item != LOAFERS) for item, *_ in ITEMS])

    def event(user: int, item: str, event_type: str, day: int, weight: float) -> tuple[Any, ...]:
        ts = datetime.datetime(2025, 11, 20, 14, 37, tzinfo=datetime.UTC) + datetime.timedelta(days=day)
        return (CLIENTS[user][0], item, event_type, ts, weight, "r")

    events = [
        event(0, COAT, "purchase", 0, 1.0),
        event(0, COAT, "view", 40, 0.2),
        event(0, TOTE, "wishlist", 38, 0.5),
        event(0, LOAFERS, "view", 5, 0.2),
        event(1, LOAFERS, "purchase", 10, 1.0),
        event(2, SCARF, "wishlist", 70, 0.5),
        event(2, LOAFERS, "purchase", 71, 1.0),
    ]
    fill(tables.INTERACTIONS, events)
    night_before = NIGHT - datetime.timedelta(days=1)
    fill(tables.SEGMENT_MEMBERS, [(night_before, SEGMENT, client[0], 1.0) for client in CLIENTS])
    return lake


@pytest.fixture
def house(filled_lake: Lake, monkeypatch: pytest.MonkeyPatch) -> House:
    return House(filled_lake, monkeypatch)


def catalogue_row(item: str, title: str, address: str, launched: str) -> tuple[Any, ...]:
    return (
        item,
        f"{title} {item}, ask {address}",
        "Maison Aurelle",
        ["Fashion", "Accessories"],
        f"Made by hand ({item}). Write to {address}, or <{address}>; order {item}/2.",
        350.0,
        {"material": "silk twill", "contact": f"mailto:{address}", "reference": f"ref.{item}"},
        True,
        datetime.date.fromisoformat(launched),
        "x",
    )


def features_row(item: str, asked: bool) -> tuple[Any, ...]:
    words = (ANSWERS["feature"], ANSWERS["who_for"], ANSWERS["who_not_for"], ANSWERS["tags"], "llm", None)
    none = (None, None, None, [], "attributes", "not asked yet")
    return (item, *(words if asked else none), [1.0], None, None, None, [1.0])


def assert_private(prompts: list[str]) -> None:
    for prompt in prompts:
        told = prompt.casefold()
        assert [identity for identity in IDENTITIES if identity.casefold() in told] == []
        assert "@" not in told
        assert not re.search(r"\b(19|20)\d\d\b|\d:\d\d", told), "a date or a time of day"


@pytest.mark.parametrize("mode", ["chained", "single", "free"])
def test_item_prompts_hold_no_identifier_and_no_address(house: House, mode: Mode) -> None:
    prompts = house.prompts("item", mode)
    assert_private(prompts)
    assert len([prompt for prompt in prompts if "Title: Leather Tote …, ask …\n" in prompt]) >= 2
    assert any("\nContact: mailto:…\n" in prompt for prompt in prompts)
    assert any("That answer cannot be used" in prompt for prompt in prompts)


@pytest.mark.parametrize("mode", ["chained", "single"])
def test_client_prompts_tell_the_allowed_attribute_and_nothing_else_of_the_client(
    house: House, mode: Mode
) -> None:
    prompts = house.prompts("user", mode, attributes=["country"])
    assert_private(prompts)
    for country in ("France", "Scotland", "Japan"):
        assert any(f"\nCountry: {country}\n" in prompt for prompt in prompts)
    assert not any("tier" in prompt.casefold() or "platinum" in prompt for prompt in prompts)


@pytest.mark.parametrize("mode", ["chained", "single"])
def test_client_prompts_tell_no_attribute_unless_it_is_named(house: House, mode: Mode) -> None:
    prompts = house.prompts("user", mode)
    assert_private(prompts)
    values = ("country", "france", "scotland", "japan", "tier", "platinum")
    assert [value for value in values for prompt in prompts if value in prompt.casefold()] == []


def test_client_prompts_tell_what_was_done_and_how_long_before_the_newest(house: House) -> None:
    ends = [prompt.splitlines()[-3:] for prompt in house.prompts("user", "single")]
    (history,) = [lines for lines in ends if lines[0].startswith("- newest, ") and lines[2].startswith("- ")]
    assert history[:2] == [
        # Bought long ago and looked at since: told as bought, and placed by its newest event.
        "- newest, purchase: A thing of quiet beauty for many people",
        "- same week, wishlist: A thing of quiet beauty for many people",
    ]
    assert history[2].startswith("- same half-year, view: Suede Loafers …, ask … | Maison Aurelle | ")


@pytest.mark.parametrize("mode", ["chained", "single"])
def test_prototypes_hold_no_identity(house: House, mode: Mode) -> None:
    prompts = house.prompts("user", mode, tier="prototypes", attributes=["country"])
    assert_private(prompts)
    assert any("- often, purchase: Suede Loafers …, ask …" in prompt for prompt in prompts)
    assert not any("France" in prompt for prompt in prompts), "a segment has no attributes of its clients"


@pytest.mark.parametrize("name", ["email", "first_name", "client_id", "Phone", "home_address"])
def test_attributes_that_tell_who_somebody_is_are_refused(name: str, tmp_path: Path) -> None:
    reasoning = {"users": {"attributes": ["country", name]}}
    with pytest.raises(ValidationError, match=f"{name} reads like an identity"):
        Settings.model_validate({"lake": {"root": "lake"}, "reasoning": reasoning})
    file = tmp_path / "night.yaml"
    file.write_text(json.dumps({"lake": {"root": "lake"}, "reasoning": reasoning}), encoding="utf-8")
    with pytest.raises(
        ConfigurationError, match=f"reasoning.users.attributes: {name} reads like an identity"
    ):
        load_settings(file)


def test_attributes_that_tell_nobody_apart_are_taken() -> None:
    names = ["country", "tier", "language", "paid", "valid"]
    settings = Settings.model_validate(
        {"lake": {"root": "lake"}, "reasoning": {"users": {"attributes": names}}}
    )
    assert settings.reasoning.users.attributes == names


BANDS = {
    None: None,
    0.0: None,
    0.5: None,
    0.99: None,
    1.0: "1 to 2",
    1.99: "1 to 2",
    2.0: "2 to 5",
    4.99: "2 to 5",
    5.0: "5 to 10",
    9.99: "5 to 10",
    10.0: "10 to 20",
    199.99: "100 to 200",
    200.0: "200 to 500",
    499.99: "200 to 500",
    500.0: "500 to 1000",
    999.99: "500 to 1000",
    1000.0: "1000 to 2000",
    1_250_000.0: "1000000 to 2000000",
}


def test_prices_are_told_as_bands(spark: SparkSession) -> None:
    frame = spark.createDataFrame([(price,) for price in BANDS], "price double")
    found = {
        row["price"]: row["band"] for row in frame.withColumn("band", price_band(frame["price"])).collect()
    }
    assert found == BANDS


def test_a_price_that_moves_within_its_band_asks_nothing_anew(spark: SparkSession) -> None:
    def fingerprints(price: float) -> list[str]:
        row = list(catalogue_row(*ITEMS[0]))
        row[5] = price
        (subject,) = item_subjects(spark.createDataFrame([tuple(row)], tables.ITEMS.ddl())).collect()
        model = ModelIdentity.of(EngineSettings())
        found = []
        for mode in ("chained", "single"):
            step = chain_of("item", mode)[0]  # type: ignore[arg-type]
            found.append(fingerprint(step, Chain(subject.subject, subject.input).prompt(step), model))
        return found

    assert fingerprints(200.0) == fingerprints(499.0)
    assert not set(fingerprints(499.0)) & set(fingerprints(500.0))
