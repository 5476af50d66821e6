from __future__ import annotations

import datetime
from collections import Counter, defaultdict
from itertools import pairwise

import numpy as np
import pytest

from isrf_pipeline.demo.articles import Catalogue, build_catalogue
from isrf_pipeline.demo.clients import Client, build_clients
from isrf_pipeline.demo.events import Event, build_events
from isrf_pipeline.demo.tastes import GROUPS, group_affinity

RUN_DATE = datetime.date(2026, 6, 30)

World = tuple[Catalogue, tuple[Client, ...], list[Event]]


@pytest.fixture(scope="module")
def world() -> World:
    rngs = [np.random.default_rng([7, part]) for part in range(3)]
    catalogue = build_catalogue(200, RUN_DATE, rngs[0])
    clients = build_clients(800, GROUPS, catalogue, rngs[1])
    return catalogue, clients, build_events(catalogue, clients, GROUPS, RUN_DATE, rngs[2])


def histories(events: list[Event]) -> dict[str, list[str]]:
    taken: dict[str, list[str]] = defaultdict(list)
    for event in events:
        taken[event.client].append(event.article)
    return taken


def test_three_in_four_events_fall_into_the_groups_themes(world: World) -> None:
    catalogue, clients, events = world
    liked = group_affinity(catalogue, GROUPS) > 0
    rows = {article.code: row for row, article in enumerate(catalogue.articles)}
    groups = {client.ref: client.group for client in clients}
    inside = [bool(liked[rows[event.article], groups[event.client]]) for event in events]
    assert 0.74 < np.mean(inside) < 0.81
    by_group = [
        np.mean([hit for hit, e in zip(inside, events, strict=True) if groups[e.client] == g])
        for g in range(8)
    ]
    assert min(by_group) > 0.68


def test_transitions_carry_more_than_the_group(world: World) -> None:
    catalogue, _, events = world
    codes = [article.code for article in catalogue.articles]
    successor = {
        code: codes[row] for code, row in zip(codes, catalogue.successors.tolist(), strict=True) if row >= 0
    }
    theme = {article.code: article.theme for article in catalogue.articles}
    steps = [pair for taken in histories(events).values() for pair in pairwise(taken)]
    followed = np.mean([successor.get(one) == two for one, two in steps])
    same_theme = np.mean([theme[one] == theme[two] for one, two in steps])
    # Were the theme all that counts, one of its 25 articles would follow in about one step of 25.
    assert followed > 0.2
    assert followed > 4 * same_theme / 25


def test_favourite_houses_and_materials_show(world: World) -> None:
    catalogue, clients, events = world
    articles = {article.code: article for article in catalogue.articles}
    taste = {client.ref: client for client in clients}
    own = np.mean([articles[e.article].material in taste[e.client].favourite_materials for e in events])
    shifted = {c.ref: other for c, other in zip(clients, clients[1:] + clients[:1], strict=True)}
    same = [e for e in events if shifted[e.client].group == taste[e.client].group]
    others = np.mean([articles[e.article].material in shifted[e.client].favourite_materials for e in same])
    assert own > 1.2 * others


def test_dear_articles_are_bought_less(world: World) -> None:
    catalogue, _, events = world
    price = {article.code: article.price for article in catalogue.articles}
    bought = Counter(price[e.article] > 3000 for e in events if e.kind == "purchase")
    seen = Counter(price[e.article] > 3000 for e in events)
    assert bought[True] / seen[True] < 0.8 * bought[False] / seen[False]


def test_no_client_has_two_events_at_one_moment(world: World) -> None:
    _, _, events = world
    assert len({(event.client, event.at) for event in events}) == len(events)


def test_clients_are_invented_and_complete(world: World) -> None:
    _, clients, _ = world
    assert len({client.ref for client in clients}) == len({client.email for client in clients}) == 800
    assert all(client.email.isascii() and client.email.endswith("@example.com") for client in clients)
    assert 0.6 < np.mean([client.email_optin for client in clients]) < 0.85
    assert {client.group for client in clients} == set(range(8))
