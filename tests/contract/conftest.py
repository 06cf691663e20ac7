"""The stores that every contract test of the store runs on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lexigram_ray.jobs.store import Store
from tests.contract.store_data import Clock
from tests.postgres_server import postgres_ends_with_the_session, postgres_server

__all__ = ["postgres_ends_with_the_session"]

# One line a database: how a fresh, empty one is named.
STORES: dict[str, Callable[[Path], str]] = {
    "sqlite": lambda folder: f"sqlite:///{folder / 'state' / 'jobs.db'}",
    "postgresql": lambda folder: postgres_server().fresh_database(),
}


@pytest.fixture(params=sorted(STORES))
def store_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return STORES[request.param](tmp_path)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(store_url: str, clock: Clock) -> Iterator[Store]:
    with Store.open(store_url, clock=clock) as opened:
        yield opened
