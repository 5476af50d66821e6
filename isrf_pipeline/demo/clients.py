"""The clients: invented people, each with a group and tastes of their own."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from isrf_pipeline.demo.articles import HOUSES, Catalogue
from isrf_pipeline.demo.tastes import Group, group_affinity
from isrf_pipeline.demo.vocabulary import THEMES

# country: (share, language, cities, first names, last names)
_PLACES: dict[str, tuple[float, str, tuple[str, ...], tuple[str, ...], tuple[str, ...]]] = {
    "FR": (
        0.22,
        "fr",
        ("Paris", "Lyon", "Bordeaux", "Nice"),
        ("Camille", "Élodie", "Margaux", "Antoine", "Hugo", "Inès", "Julien", "Clémence", "Théo", "Sylvie"),
        ("Lemoine", "Garnier", "Fabre", "Rousselin", "Chevalier", "Morvan", "Delorme", "Bréval", "Castan"),
    ),
    "IT": (
        0.14,
        "it",
        ("Milan", "Rome", "Florence", "Turin"),
        ("Giulia", "Chiara", "Francesca", "Lorenzo", "Matteo", "Alessandro", "Elena", "Davide", "Paola"),
        ("Ricci", "Gallo", "Bianchi", "Fontana", "Marini", "Serra", "Pellegrini", "Valenti", "Moretti"),
    ),
    "GB": (
        0.14,
        "en",
        ("London", "Edinburgh", "Manchester", "Bath"),
        ("Charlotte", "Oliver", "Imogen", "Rupert", "Harriet", "James", "Priya", "Edward", "Alice", "Kofi"),
        ("Hartley", "Ashworth", "Pemberton", "Clarke", "Okafor", "Whitfield", "Patel", "Langley", "Shaw"),
    ),
    "US": (
        0.16,
        "en",
        ("New York", "Los Angeles", "Chicago", "Miami"),
        ("Emily", "Michael", "Sofia", "Daniel", "Ava", "Ethan", "Grace", "Marcus", "Nina", "Tyler"),
        ("Bennett", "Ramirez", "Sullivan", "Chen", "Foster", "Goldberg", "Hayes", "Nguyen", "Parker"),
    ),
    "DE": (
        0.12,
        "de",
        ("Munich", "Berlin", "Hamburg", "Düsseldorf"),
        ("Anna", "Lukas", "Katharina", "Felix", "Jürgen", "Lena", "Maximilian", "Greta", "Stefan"),
        ("Vogel", "Brandt", "Krüger", "Lehmann", "Winter", "Schäfer", "Hoffmann", "Engel", "Seidel"),
    ),
    "JP": (
        0.12,
        "ja",
        ("Tokyo", "Osaka", "Kyoto"),
        ("Haruka", "Kenji", "Yui", "Takashi", "Aiko", "Daichi", "Naomi", "Ren", "Sakura"),
        ("Tanaka", "Mori", "Ishikawa", "Nakamura", "Fujita", "Ueda", "Okada", "Hayashi", "Kimura"),
    ),
    "CH": (
        0.10,
        "de",
        ("Zurich", "Geneva", "Lugano", "Basel"),
        ("Nadine", "Reto", "Céline", "Urs", "Laura", "Beat", "Simone", "Marc"),
        ("Keller", "Frei", "Baumann", "Rochat", "Bernasconi", "Zürcher", "Meier", "Favre"),
    ),
}

_TIERS = ("Silver", "Gold", "Platinum", "Noir")
_TIER_WEIGHTS = (0.52, 0.30, 0.13, 0.05)


@dataclass(frozen=True)
class Client:
    """One client: what the lake tells of them, and the taste that it hides."""

    ref: str
    first_name: str
    last_name: str
    email: str
    city: str
    country: str
    tier: str
    birth_year: int
    language: str
    email_optin: bool
    group: int
    favourite_houses: tuple[str, ...]
    favourite_materials: tuple[str, ...]
    personal_theme: str

    def row(self) -> dict[str, object]:
        """The client as a row of ``clients.csv``."""
        return {
            "client_ref": self.ref,
            "first_name": self.first_name,
            "last_name": self.last_name,
            "email": self.email,
            "city": self.city,
            "country": self.country,
            "tier": self.tier,
            "birth_year": self.birth_year,
            "language": self.language,
            "email_optin": "true" if self.email_optin else "false",
        }


def build_clients(
    count: int, groups: tuple[Group, ...], catalogue: Catalogue, rng: np.random.Generator
) -> tuple[Client, ...]:
    """Make `count` clients, with groups in the proportion of their sizes."""
    sizes = np.array([group.size for group in groups])
    members = rng.choice(len(groups), size=count, p=sizes / sizes.sum())
    liked = _what_groups_like(catalogue, groups)
    countries = list(_PLACES)
    shares = np.array([_PLACES[country][0] for country in countries])
    clients = []
    for row in range(count):
        group = int(members[row])
        country = countries[int(rng.choice(len(countries), p=shares / shares.sum()))]
        _, language, cities, firsts, lasts = _PLACES[country]
        first, last = _one(firsts, rng), _one(lasts, rng)
        houses, materials = liked[group]
        others = [theme.key for theme in THEMES if theme.key != groups[group].theme]
        clients.append(
            Client(
                ref=f"C{100_000 + row}",
                first_name=first,
                last_name=last,
                email=f"{_ascii(first)}.{_ascii(last)}{row}@example.com",
                city=_one(cities, rng),
                country=country,
                tier=_TIERS[int(rng.choice(len(_TIERS), p=_TIER_WEIGHTS))],
                birth_year=int(np.clip(rng.normal(1981, 13), 1938, 2005)),
                language="fr" if country == "CH" and rng.random() < 0.3 else language,
                email_optin=bool(rng.random() < 0.72),
                group=group,
                favourite_houses=_some(houses, 1, rng),
                favourite_materials=_some(materials, 3, rng),
                personal_theme=_one(others, rng),
            )
        )
    return tuple(clients)


def _what_groups_like(catalogue: Catalogue, groups: tuple[Group, ...]) -> list[tuple[list[str], list[str]]]:
    """Houses and materials met within each group's themes; all houses where a small catalogue has none."""
    affinity: npt.NDArray[np.float64] = group_affinity(catalogue, groups)
    liked = []
    for column in range(len(groups)):
        articles = [a for a, weight in zip(catalogue.articles, affinity[:, column], strict=True) if weight]
        houses = sorted({article.house for article in articles}) or sorted(HOUSES)
        liked.append((houses, sorted({article.material for article in articles})))
    return liked


def _one(options: tuple[str, ...] | list[str], rng: np.random.Generator) -> str:
    return options[int(rng.integers(len(options)))]


def _some(options: list[str], count: int, rng: np.random.Generator) -> tuple[str, ...]:
    return tuple(sorted(options[int(index)] for index in rng.permutation(len(options))[:count]))


def _ascii(name: str) -> str:
    return unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().lower()
