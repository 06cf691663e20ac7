from __future__ import annotations

import threading
from concurrent.futures import CancelledError, ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lexigram_ray.embedding.server_pace import (
    BACKOFF_CAP_SECONDS,
    LocalRateLimit,
    Pace,
    TokenBucket,
    backoff_seconds,
    retry_after_seconds,
)

NOW = 1_800_000_000.0
DATE = "Fri, 15 Jan 2027 08:00:30 GMT"


class Clock:
    """A clock that only sleeping moves."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float, stopped: threading.Event) -> None:
        self.now += seconds


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "7"}, 7.0),
        ({"retry-after": "1.5"}, 1.5),
        ({"retry-after-ms": "250", "retry-after": "7"}, 0.25),
        ({"retry-after-ms": "soon", "retry-after": "7"}, 7.0),
        ({"retry-after": DATE}, 30.0),
        ({"retry-after": "Fri, 15 Jan 2020 08:00:30 GMT"}, 0.0),
        ({"retry-after": "-3"}, 0.0),
        ({"retry-after": "inf"}, None),
        ({"retry-after": "soon"}, None),
        ({}, None),
    ],
)
def test_every_way_of_saying_retry_after_is_read(headers, seconds):
    assert retry_after_seconds(headers, NOW) == seconds


@given(st.integers(1, 10_000), st.floats(0, 1, exclude_max=True))
def test_backoff_is_between_nothing_and_its_cap(attempt, draw):
    assert 0 <= backoff_seconds(attempt, draw) < BACKOFF_CAP_SECONDS


def test_backoff_doubles():
    assert [backoff_seconds(attempt, 0.5) for attempt in (1, 2, 3, 20)] == [0.25, 0.5, 1.0, 15.0]


@given(
    st.integers(12, 1_000_000).flatmap(
        lambda budget: st.tuples(
            st.just(budget), st.lists(st.integers(1, budget // 12), min_size=1, max_size=30)
        )
    ),
    st.data(),
)
def test_no_minute_holds_more_than_the_budget(asked, data):
    budget, sizes = asked
    bucket, now, went = TokenBucket.full(budget, 0.0), 0.0, []
    for size in sizes:
        now += data.draw(st.sampled_from([0.0, 0.1, 30.0]))
        bucket, wait = bucket.reserve(size, now)
        went.append((now + wait, size))

    for start, _ in went:
        assert sum(size for at, size in went if start <= at < start + 60) <= budget * 1.0001 + 1


def test_a_request_larger_than_a_burst_goes_and_those_after_it_pay():
    bucket = TokenBucket.full(1200, 0.0)

    bucket, first = bucket.reserve(1000, 0.0)
    bucket, second = bucket.reserve(1, 0.0)

    assert first == 0.0
    assert second == pytest.approx(901 / (1100 / 60))


def test_what_was_estimated_too_high_is_given_back():
    bucket, _ = TokenBucket.full(1200, 0.0).reserve(100, 0.0)

    assert bucket.reserve(-60, 0.0)[0].reserve(60, 0.0)[1] == 0.0
    assert bucket.reserve(60, 0.0)[1] > 3
    assert bucket.reserve(-1000, 0.0)[0].level == bucket.burst


def test_a_clock_that_goes_back_lets_nothing_flow_in_twice():
    bucket, _ = TokenBucket.full(1200, 100.0).reserve(100, 100.0)

    bucket, _ = bucket.reserve(0, 90.0)

    assert bucket.reserve(0, 101.0)[0].level == pytest.approx(bucket.per_second)


def _paced(clock: Clock, budget: int | None = None, draw: float = 0.5) -> Pace:
    return Pace(budget, clock=clock, sleep=clock.sleep, draw=lambda: draw)


def test_what_the_server_asks_for_holds_every_request_and_spreads_them_after_it():
    clock = Clock()
    pace = _paced(clock)
    pace.hold(5)
    pace.hold(2)

    pace.admit(10, threading.Event())

    assert clock.now == pytest.approx(105.25)


def test_no_tokens_are_promised_while_the_server_wants_to_be_left_alone():
    clock = Clock()
    pace = _paced(clock, budget=1200)
    pace.hold(600)

    pace.admit(100, threading.Event())
    pace.admit(100, threading.Event())

    # The second one waits for its tokens after the hold, not during it.
    assert clock.now == pytest.approx(100 + 600.5 + 100 / (1100 / 60))


def test_those_who_share_a_limit_share_its_budget_and_its_holds():
    clock = Clock()
    limit = LocalRateLimit(1200, clock)
    one, other = (
        Pace(limit=limit, clock=clock, sleep=clock.sleep, draw=lambda: 0.0) for _ in range(2)
    )

    one.admit(100, threading.Event())
    other.admit(100, threading.Event())
    assert clock.now == pytest.approx(100 + 100 / (1100 / 60))

    one.settle(100, 0)
    before = clock.now
    other.admit(100, threading.Event())
    assert clock.now == before

    one.hold(7)
    other.admit(1, threading.Event())
    assert clock.now >= before + 7


@pytest.mark.parametrize("held_seconds", [0, 60])
def test_a_wait_ends_at_once_when_the_call_has_failed(held_seconds: float):
    pace, stopped = Pace(12), threading.Event()
    pace.hold(held_seconds)

    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(lambda: [pace.admit(1000, stopped) for _ in range(2)])
        stopped.set()
        with pytest.raises(CancelledError):
            waiting.result(timeout=5)


def test_without_a_budget_nothing_waits():
    clock = Clock()

    for _ in range(100):
        _paced(clock).admit(10**9, threading.Event())

    assert clock.now == 100.0
