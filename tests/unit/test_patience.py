"""Whoever waits for workers is told once what is free, and does not wait for ever."""

from __future__ import annotations

import logging

import pytest
import ray

from lexigram_ray.core.config import WorkersConfig
from lexigram_ray.core.errors import EmbedderDiedError, WorkerError
from lexigram_ray.runtime.patience import (
    PATIENCE_SECONDS,
    TIMED_OUT,
    Silence,
    UnitTime,
    patience_for,
    unit_limit,
)


class Clock:
    """Shows what a test sets."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture(autouse=True)
def cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray, "available_resources", lambda: {"CPU": 1.5, "memory": 7.0})


def test_a_silence_is_said_once_with_what_is_free(caplog: pytest.LogCaptureFixture) -> None:
    clock = Clock()
    silence = Silence("an embedder", clock=clock)
    with caplog.at_level(logging.WARNING, "lexigram_ray"):
        for seconds in (59.0, 61.0, 62.0, 10_000.0):
            clock.now = 1000.0 + seconds
            silence.goes_on()
        silence.begin()
        clock.now += 100.0
        silence.goes_on()

    assert caplog.messages == [
        "an embedder has not answered for 61 seconds; the cluster has 1.5 free CPUs and "
        "0.0 free GPUs: `ray status` shows what waits"
    ]


def test_a_silence_ends_in_an_error_that_says_what_is_free_and_what_to_do() -> None:
    clock = Clock()
    silence = Silence("an embedder", patience_for(100), clock)
    clock.now += PATIENCE_SECONDS
    silence.goes_on()
    silence.begin()
    clock.now += patience_for(100) - 1
    silence.goes_on()
    clock.now += 1
    with pytest.raises(
        WorkerError, match=r"embedder did not answer for 350 s.* 1\.5 free"
    ) as caught:
        silence.goes_on()

    assert "ray status" in str(caught.value.hint)


def test_a_worker_that_takes_longer_than_a_unit_may_counts_as_dead() -> None:
    clock = Clock()
    time = UnitTime("an embedder", 900, clock)
    clock.now += 899
    time.goes_on()
    clock.now += 1
    with pytest.raises(EmbedderDiedError, match=r"longer than 900 s .jobs\.unit_seconds") as caught:
        time.goes_on()

    assert caught.value.code == TIMED_OUT


def test_the_time_of_a_unit_bounds_the_patience_with_its_rows() -> None:
    assert patience_for(4_000, 900) == PATIENCE_SECONDS + 900
    assert patience_for(100, 900) == patience_for(100)


def test_where_a_server_makes_the_vectors_its_requests_limits_are_the_only_ones() -> None:
    jobs = {"unit_seconds": 7}
    assert unit_limit(WorkersConfig(jobs=jobs)) == 7
    served = WorkersConfig(jobs=jobs, embedding={"server": {"url": "http://127.0.0.1:9/v1"}})
    assert unit_limit(served) == float("inf")
