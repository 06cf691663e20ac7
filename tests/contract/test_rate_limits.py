"""A budget that is kept in a store, whoever takes from it."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import pytest
from sqlalchemy import event
from sqlalchemy.engine import Engine

from lexigram_ray.core.errors import StoreUnreachableError
from lexigram_ray.core.protocols import RateLimit
from lexigram_ray.embedding.server_pace import LocalRateLimit
from lexigram_ray.jobs.database import Database
from lexigram_ray.jobs.rate_limits import KEPT_SECONDS, LOOK_SECONDS, StoreRateLimit
from tests.contract.store_data import Clock, child, line_from

CHILD = Path(__file__).with_name("rate_limit_child.py")
PER_MINUTE = 1200.0


class Sharer:
    """One of those who share a budget, with a clock that goes as fast as everyone's."""

    def __init__(self, url: str, clock: Clock, name: str = "server") -> None:
        self.limit = StoreRateLimit(url, name, PER_MINUTE, clock=clock, ticks=clock)
        self._clock = clock

    def goes_at(self, amount: float) -> float:
        """Take; return when it may be used."""
        return self._clock() + self.limit.reserve(amount)


def most_in_a_minute(went: Sequence[tuple[float, float]]) -> float:
    return max(sum(size for at, size in went if start <= at < start + 60) for start, _ in went)


def test_no_minute_holds_more_than_the_budget_however_many_share_it(
    store_url: str, clock: Clock
) -> None:
    sharers = [Sharer(store_url, clock) for _ in range(3)]
    went: list[tuple[float, float]] = []
    for turn in range(60):
        for place, sharer in enumerate(sharers):
            size = 1 + (turn * 7 + place * 13) % 60
            went.append((sharer.goes_at(size), size))
        if turn % 20 == 19:
            clock.advance(45)

    assert most_in_a_minute(went) <= PER_MINUTE
    # Nor is much of it left unused while somebody waits for it.
    busy = [at for at, _ in went]
    used = sum(size for _, size in went)
    assert used / ((max(busy) - min(busy)) / 60) > 0.85 * PER_MINUTE


def test_a_store_that_cannot_be_opened_is_not_held_open_once_a_try(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: weakref.WeakSet[Database] = weakref.WeakSet()

    def refuse(database: Database) -> str:
        opened.add(database)
        raise StoreUnreachableError("gone", hint="wait")

    monkeypatch.setattr("lexigram_ray.jobs.migrations.migrate", refuse)
    limit = StoreRateLimit(f"sqlite:///{tmp_path / 'jobs.db'}", "server", PER_MINUTE)
    for _ in range(5):
        with pytest.raises(StoreUnreachableError):
            limit.reserve(1)

    gc.collect()
    assert len(opened) == 0


def test_what_is_kept_for_a_moment_goes_back_when_the_moment_is_over(
    store_url: str, clock: Clock
) -> None:
    one, other = Sharer(store_url, clock), Sharer(store_url, clock)
    burst = PER_MINUTE / 12
    one.goes_at(1)
    one.goes_at(-burst)
    clock.advance(KEPT_SECONDS + 30)
    one.goes_at(1)

    # What `one` still holds is no more than a second's worth.
    assert other.goes_at(0.75 * burst) == clock()
    assert one.goes_at(burst) > clock()


def test_many_small_requests_ask_the_store_about_once_a_second(
    store_url: str, clock: Clock
) -> None:
    sharers = [Sharer(store_url, clock) for _ in range(2)]
    for sharer in sharers:
        sharer.goes_at(1)
    begun: list[object] = []

    def note(connection: object) -> None:
        begun.append(connection)

    event.listen(Engine, "begin", note)
    try:
        started = last = clock()
        while last < started + 30:
            for sharer in sharers:
                assert sharer.limit.wait_seconds() == 0
                last = max(last, sharer.goes_at(1))
                sharer.goes_at(-0.25)
            clock.advance(max(0.01, last - clock() - 1))
        seconds = last - started
    finally:
        event.remove(Engine, "begin", note)
    # Beside them, each looks twice a second whether all are held off.
    assert len(begun) <= (1.5 + len(sharers) / LOOK_SECONDS) * seconds + 5


def test_a_hold_of_one_holds_all_and_the_longest_counts(store_url: str, clock: Clock) -> None:
    one, other = Sharer(store_url, clock), Sharer(store_url, clock)
    assert other.limit.wait_seconds() == 0

    one.limit.hold_off(30)
    clock.advance(LOOK_SECONDS)
    assert other.limit.wait_seconds() == pytest.approx(30 - LOOK_SECONDS)
    other.limit.hold_off(5)
    late = Sharer(store_url, clock)
    assert late.limit.wait_seconds() == pytest.approx(30 - LOOK_SECONDS)
    clock.advance(30)
    assert [each.limit.wait_seconds() for each in (one, other, late)] == [0, 0, 0]


def test_another_name_is_another_budget(store_url: str, clock: Clock) -> None:
    one, other = Sharer(store_url, clock), Sharer(store_url, clock, name="another server")
    for _ in range(3):
        one.goes_at(PER_MINUTE)
    one.limit.hold_off(60)

    assert other.goes_at(PER_MINUTE / 12) == clock()
    assert other.limit.wait_seconds() == 0


def test_a_clock_that_was_moved_back_holds_nobody_for_longer_than_it_went(
    store_url: str, clock: Clock
) -> None:
    before = Sharer(store_url, clock)
    before.goes_at(PER_MINUTE / 12)
    before.limit.hold_off(300)
    clock.advance(-86_400)

    after = Sharer(store_url, clock)
    assert after.limit.wait_seconds() == 0
    after.goes_at(10)
    clock.advance(60)
    assert after.goes_at(PER_MINUTE / 24) == clock()


def test_what_one_process_does_alone_takes_as_long_through_the_store(
    store_url: str, clock: Clock
) -> None:
    shared = Sharer(store_url, clock)
    alone: RateLimit = LocalRateLimit(PER_MINUTE, clock)
    waits = [(shared.goes_at(size) - clock(), alone.reserve(size)) for size in [90] * 30]

    assert waits[0] == (0, 0)
    assert waits[-1][0] == pytest.approx(waits[-1][1], rel=0.05)


@pytest.mark.slow
def test_processes_that_take_at_once_stay_within_the_budget(store_url: str) -> None:
    takes = 60
    takings = [child(store_url, PER_MINUTE, takes, script=CHILD) for _ in range(2)]
    with ExitStack() as stack:
        children = [stack.enter_context(taking) for taking in takings]
        assert [line_from(each) for each in children] == ["ready"] * 2
        for seed, each in enumerate(children):
            assert each.stdin is not None
            each.stdin.write(f"{seed}\n")
            each.stdin.flush()
        said = [each.communicate(timeout=60)[0] for each in children]

    went = [tuple(map(float, line.split())) for text in said for line in text.splitlines()]
    assert len(went) == 2 * takes
    assert most_in_a_minute([(at, size) for at, size in went]) <= PER_MINUTE
