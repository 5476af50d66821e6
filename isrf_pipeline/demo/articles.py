"""The catalogue: articles with titles and descriptions put together from the vocabularies."""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from isrf_pipeline.demo.vocabulary import THEMES, Kind, Theme, Voice

HOUSES: dict[str, tuple[str, float]] = {
    "Aurevane": ("AUR", 1.1),
    "Castelverne": ("CAS", 1.0),
    "Orlanthe": ("ORL", 1.2),
    "Tessarin": ("TES", 1.05),
    "Kestrel & Voss": ("KEV", 0.9),
    "Hautrive": ("HAU", 1.15),
    "Célandre": ("CEL", 0.95),
    "Nordhelm": ("NOR", 0.9),
}
"""Invented houses: prefix of their article codes and factor on their prices."""

_STONE_COLOURS = {
    "brilliant-cut diamonds": "white",
    "blue sapphires": "blue",
    "Colombian emeralds": "green",
    "rubies": "red",
    "Akoya pearls": "pearl",
    "green tourmalines": "green",
    "pink sapphires": "pink",
    "garnets": "dark red",
    "aquamarines": "pale blue",
}

_TITLES: dict[Voice, str] = {
    "cut": "{collection} {noun} in {look}",
    "made": "{collection} {noun} in {look}",
    "jewel": "{collection} {noun} in {material} with {colour}",
    "watch": "{collection} {noun} in {material}, {colour} dial",
    "scent": "{collection} {noun}",
}

_OPENINGS: dict[Voice, tuple[str, ...]] = {
    "cut": (
        "{one} in {look}, with {detail}.",
        "Cut from {look}, {this} has {detail}.",
        "{house} cuts {this} in {look} and gives it {detail}.",
        "The {collection} {text_noun} {comes} in {look}, with {detail}.",
        "With {detail}, {this} in {look} belongs to the {collection} line.",
        "{this} in {look} has {detail}.",
    ),
    "made": (
        "{one} in {look}, with {detail}.",
        "Made from {look}, {this} has {detail}.",
        "{house} makes {this} in {look} and gives it {detail}.",
        "The {collection} {text_noun} {comes} in {look}, with {detail}.",
        "With {detail}, {this} in {look} belongs to the {collection} line.",
        "{this} in {look} has {detail}.",
    ),
    "jewel": (
        "{one} in {material} with {colour} and {detail}.",
        "{colour} light up {this} in {material}, which has {detail}.",
        "{house} sets {colour} in {material} for {this} with {detail}.",
        "Set with {colour}, {this} in {material} has {detail}.",
        "With {detail}, {this} brings together {colour} and {material}.",
    ),
    "watch": (
        "{one} in {material}, with {a_colour} dial and {detail}.",
        "{this} sets {a_colour} dial in {a_material} case and has {detail}.",
        "{house} gives {this} {a_material} case, {a_colour} dial and {detail}.",
        "With {detail}, the {collection} wears {a_colour} dial in {material}.",
        "{a_colour} dial meets {a_material} case in {this}, which has {detail}.",
    ),
    "scent": (
        "{one} built on {detail}, in {look}.",
        "{house} composes {this} around {detail} and presents it in {look}.",
        "Scented with {detail}, {this} comes in {look}.",
        "{this} unfolds slowly: {detail}, held in {look}.",
        "{detail} give {collection} its character; {this} is presented in {look}.",
    ),
}

# What follows the opening sentence; most articles say how they are made or when they are used, some both.
_SHAPES: tuple[tuple[str, ...], ...] = ((), ("moment",), ("fact",), ("fact", "moment"), ("moment", "fact"))
_SHAPE_WEIGHTS = (0.06, 0.24, 0.2, 0.35, 0.15)

MAX_ARTICLES = 20_000
"""Above this the vocabularies could no longer be relied on to give every article its own description."""


@dataclass(frozen=True)
class Article:
    """One article of the catalogue, with the truth about it (theme, kind, collection) that the lake hides."""

    code: str
    title: str
    house: str
    family: tuple[str, ...]
    material: str
    colour: str
    season: str
    description: str
    price: float
    in_stock: bool
    launched: datetime.date
    theme: str
    kind: str
    collection: str

    def row(self) -> dict[str, object]:
        """The article as a line of ``articles.jsonl``."""
        return {
            "article_code": self.code,
            "title": self.title,
            "maison": self.house,
            "family": list(self.family),
            "material": self.material,
            "colour": self.colour,
            "season": self.season,
            "description": self.description,
            "retail_price": self.price,
            "in_stock": self.in_stock,
            "launch_date": self.launched.isoformat(),
        }


@dataclass(frozen=True)
class Catalogue:
    """All articles, the pull of each, and the article that clients tend to take after each.

    Parameters
    ----------
    articles
        In the order of the file.
    popularity
        Positive weight of each article, shape (articles,).
    successors
        Row of the article usually taken next, or -1, shape (articles,).
    """

    articles: tuple[Article, ...]
    popularity: npt.NDArray[np.float64]
    successors: npt.NDArray[np.int64]

    @cached_property
    def prices(self) -> npt.NDArray[np.float64]:
        """Retail price in EUR, shape (articles,)."""
        return np.array([article.price for article in self.articles])


def build_catalogue(count: int, run_date: datetime.date, rng: np.random.Generator) -> Catalogue:
    """Make `count` articles launched up to a few days before `run_date`, evenly over all kinds."""
    kinds = [(theme, kind) for theme in THEMES for kind in theme.kinds]
    # Every kind as often as any other; what is left over goes to kinds drawn without replacement.
    order = np.concatenate([rng.permutation(len(kinds)) for _ in range(-(-count // len(kinds)))])[:count]
    writer = _Writer(rng)
    out_of_stock = set(rng.permutation(count)[: round(0.06 * count)].tolist())
    articles: list[Article] = []
    for row, choice in enumerate(order):
        theme, kind = kinds[int(choice)]
        article = writer.article(theme, kind, _launch_date(run_date, rng), row, row not in out_of_stock)
        articles.append(article)
    popularity = rng.lognormal(0.0, 0.6, count)
    return Catalogue(tuple(articles), popularity, _successors(articles, rng))


def _launch_date(run_date: datetime.date, rng: np.random.Generator) -> datetime.date:
    """Mostly before the 18 months of events, some within them, a few so late that hardly anyone knows them."""
    draw = rng.random()
    if draw < 0.70:
        age = rng.integers(560, 1200)
    elif draw < 0.92:
        age = rng.integers(60, 560)
    else:
        age = rng.integers(5, 60)
    return run_date - datetime.timedelta(days=int(age))


def _season(launched: datetime.date) -> str:
    half = "SS" if launched.month <= 6 else "FW"
    return f"{half}{launched.year % 100:02d}"


def _price(kind: Kind, house: str, rng: np.random.Generator) -> float:
    low, high = np.log(kind.prices)
    price = float(np.exp(rng.uniform(low, high))) * HOUSES[house][1]
    step = 5 if price < 500 else 10 if price < 2000 else 50
    return float(max(step, round(price / step) * step))


def _successors(articles: Sequence[Article], rng: np.random.Generator) -> npt.NDArray[np.int64]:
    """For each article the best match among the kinds that follow its own: collection first, then house."""
    follows = {kind.key: kind.follows for theme in THEMES for kind in theme.kinds}
    kinds = np.array([article.kind for article in articles])
    of_kind = {kind: np.flatnonzero(kinds == kind) for kind in follows}
    weights = {"collection": 4.0, "house": 2.0, "colour": 1.5, "material": 1.0}
    values = {name: np.array([getattr(article, name) for article in articles]) for name in weights}
    jitter = rng.random(len(articles))
    successors = np.full(len(articles), -1, dtype=np.int64)
    for row, article in enumerate(articles):
        candidates = np.concatenate(
            [np.empty(0, np.int64), *(of_kind[kind] for kind in follows[article.kind])]
        )
        if len(candidates):
            fit = jitter[candidates]
            for name, weight in weights.items():
                fit += weight * (values[name][candidates] == values[name][row])
            successors[row] = candidates[np.argmax(fit)]
    return successors


class _Writer:
    """Puts titles and descriptions together; a deck for each list spreads its phrases evenly."""

    def __init__(self, rng: np.random.Generator) -> None:
        self._rng = rng
        self._decks: dict[tuple[str, str], Iterator[str]] = {}
        self._descriptions: set[str] = set()
        self._titles: set[str] = set()

    def article(self, theme: Theme, kind: Kind, launched: datetime.date, row: int, in_stock: bool) -> Article:
        house, collection = self._house_and_collection(theme, kind)
        for attempt in range(200):
            words = self._words(theme, kind, house, collection)
            title = _TITLES[kind.voice].format(**words)
            description = self._description(kind, words)
            # Equal titles are put up with in a catalogue too large for its words, equal descriptions never.
            if description not in self._descriptions and (title not in self._titles or attempt >= 20):
                break
        else:  # pragma: no cover - MAX_ARTICLES keeps far from it
            raise AssertionError(f"the vocabulary of {kind.key} is exhausted")
        self._descriptions.add(description)
        self._titles.add(title)
        return Article(
            code=f"{HOUSES[house][0]}-{10_000 + row}",
            title=title,
            house=house,
            family=kind.family,
            material=words["material"],
            colour=_STONE_COLOURS[words["colour"]] if kind.voice == "jewel" else words["colour"],
            season=_season(launched),
            description=description,
            price=_price(kind, house, self._rng),
            in_stock=in_stock,
            launched=launched,
            theme=theme.key,
            kind=kind.key,
            collection=collection,
        )

    def _pick(self, options: Sequence[str]) -> str:
        return options[int(self._rng.integers(len(options)))]

    def _deal(self, kind: str, part: str, options: Sequence[str]) -> str:
        def deck() -> Iterator[str]:
            while True:
                for index in self._rng.permutation(len(options)):
                    yield options[int(index)]

        return next(self._decks.setdefault((kind, part), deck()))

    def _house_and_collection(self, theme: Theme, kind: Kind) -> tuple[str, str]:
        """A collection belongs to one house, so that its bag and its wallet come from the same hands."""
        houses = list(dict.fromkeys(house for other in theme.kinds for house in other.houses))
        house = self._pick(kind.houses)
        return house, self._pick(theme.collections[houses.index(house) :: len(houses)])

    def _words(self, theme: Theme, kind: Kind, house: str, collection: str) -> dict[str, str]:
        material, colours = kind.looks[int(self._rng.integers(len(kind.looks)))]
        colour = self._pick(colours)
        noun = self._pick(kind.nouns)
        text_noun = re.sub(r" \d.*$", "", noun)
        if kind.voice == "scent":
            detail = kind.details[theme.collections.index(collection)]
        else:
            detail = self._deal(kind.key, "detail", kind.details)
        return {
            "house": house,
            "collection": collection,
            "material": material,
            "colour": colour,
            "look": f"{colour} {material}",
            "noun": noun,
            "text_noun": text_noun,
            "one": f"a pair of {text_noun}" if kind.plural else _with_article(text_noun),
            "this": f"this pair of {text_noun}" if kind.plural else f"this {text_noun}",
            "comes": "come" if kind.plural else "comes",
            "a_colour": _with_article(colour),
            "a_material": _with_article(material),
            "detail": detail,
        }

    def _description(self, kind: Kind, words: dict[str, str]) -> str:
        shape = _SHAPES[int(self._rng.choice(len(_SHAPES), p=_SHAPE_WEIGHTS))]
        sentences = [self._deal(kind.key, "opening", _OPENINGS[kind.voice])]
        for part in shape:
            sentences.append(self._deal(kind.key, part, kind.facts if part == "fact" else kind.moments))
        texts = (sentence.format(**words) for sentence in sentences)
        return " ".join(text[0].upper() + text[1:] for text in texts)


def _with_article(noun: str) -> str:
    """The noun with "a" or "an"; "one-piece" begins with a consonant and "18-carat" with a vowel."""
    vowel = noun[0].lower() in "aeiou8" or noun.startswith("18")
    return f"{'an' if vowel and not noun.startswith(('one-', 'eu', 'uni')) else 'a'} {noun}"
