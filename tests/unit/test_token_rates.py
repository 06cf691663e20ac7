"""How many requests a token may make: bursts, the steady rate, and others beside it."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lexigram_ray.service.token_rates import LEAST_BURST, MOST_REMEMBERED, TokenRates


class Ticks:
    def __init__(self) -> None:
        self.seconds = 1000.0

    def __call__(self) -> float:
        return self.seconds


def taken(rates: TokenRates, key: str, tries: int) -> int:
    return sum(rates.take(key) == 0 for _ in range(tries))


@pytest.mark.parametrize(("per_minute", "burst"), [(1, LEAST_BURST), (600, 10), (6000, 100)])
def test_a_second_s_worth_may_come_at_once(per_minute: int, burst: int) -> None:
    assert taken(TokenRates(per_minute, Ticks()), "a", 1000) == burst


def test_whoever_waits_as_told_is_let_in() -> None:
    ticks = Ticks()
    rates = TokenRates(60, ticks)
    taken(rates, "a", LEAST_BURST)

    wait = rates.take("a")
    assert wait == pytest.approx(1.0)
    assert rates.take("a") == wait
    ticks.seconds += wait
    assert rates.take("a") == 0
    assert rates.take("a") > 0


def test_one_token_does_not_use_up_another_s() -> None:
    rates = TokenRates(60, Ticks())
    assert taken(rates, "a", 100) == LEAST_BURST
    assert taken(rates, "b", 100) == LEAST_BURST


def test_what_is_full_again_is_not_remembered() -> None:
    ticks = Ticks()
    rates = TokenRates(60, ticks)
    for number in range(3 * MOST_REMEMBERED):
        rates.take(str(number))
        ticks.seconds += 1

    assert len(rates._full_at) <= MOST_REMEMBERED


@settings(deadline=None, max_examples=50, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.floats(0, 30), min_size=1, max_size=100), st.integers(1, 600))
def test_no_minute_has_more_than_the_rate_and_a_burst(waits: list[float], per_minute: int) -> None:
    ticks = Ticks()
    rates = TokenRates(per_minute, ticks)
    came: list[float] = []
    for wait in waits:
        ticks.seconds += wait
        if rates.take("a") == 0:
            came.append(ticks.seconds)

    burst = max(LEAST_BURST, per_minute / 60)
    busiest = max(sum(start <= at < start + 60 for at in came) for start in came)
    assert busiest <= per_minute + burst + 1
