"""What becomes of a job that does not end well is decided by what ended it, and how often."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lexigram_ray.core.errors import (
    ConfigError,
    DiskFullError,
    DocumentError,
    EmbeddingServerError,
    IntegrityError,
    LeaseLostError,
    UsageError,
)
from lexigram_ray.jobs.claiming import Stopped
from lexigram_ray.jobs.giving_up import (
    LONG_ATTEMPT_SECONDS,
    LONGEST_WAIT_AFTER_LOSS_SECONDS,
    GiveUp,
    LeaveIt,
    TryAgain,
    Verdict,
    after_error,
    backoff,
    is_lost_for_good,
    losses_in_a_row,
    wait_after_losses,
)
from lexigram_ray.jobs.owner import Owner
from lexigram_ray.jobs.records import ERROR, INTERRUPTED, LOST, Attempt

NOW = datetime(2030, 1, 1, 12, tzinfo=UTC)


def verdict(error: Exception, *, errors: int = 1, jitter: float = 1.0) -> Verdict:
    return after_error(error, errors_in_a_row=errors, max_attempts=5, jitter=jitter)


def attempt(outcome: str | None, seconds: float, *, ago: float = 0.0) -> Attempt:
    ended = NOW - timedelta(seconds=ago)
    return Attempt(
        job_id="job",
        number=1,
        fence=1,
        owner=Owner.current(),
        started_at=ended - timedelta(seconds=seconds),
        ended_at=None if outcome is None else ended,
        outcome=outcome,
        error=None,
    )


@pytest.mark.parametrize("error", [Stopped("job"), LeaseLostError("another has it")])
def test_a_job_that_was_stopped_or_taken_is_left_as_it_is(error: Exception) -> None:
    assert verdict(error, errors=99) == LeaveIt()


@pytest.mark.parametrize(
    "error",
    [
        UsageError("the folder is gone"),
        ConfigError("no key"),
        IntegrityError("rows are missing"),
        DocumentError("not readable"),
    ],
)
def test_what_cannot_get_better_is_given_up_at_once(error: UsageError) -> None:
    assert verdict(error) == GiveUp(error=error.message, code=error.code)


def test_what_may_pass_is_tried_again_later_and_later_until_it_was_tried_often_enough() -> None:
    full = DiskFullError("no space left")
    waits = [verdict(full, errors=errors) for errors in (1, 2, 3, 4)]

    assert waits == [TryAgain(seconds=seconds) for seconds in (5.0, 10.0, 20.0, 40.0)]
    assert verdict(full, errors=5) == GiveUp(
        error="no space left (attempts in a row: 5)", code="disk_full"
    )


def test_an_error_that_nobody_foresaw_is_tried_again_and_then_told_without_secrets() -> None:
    error = RuntimeError("GET https://user:hunter2@example.org failed")

    assert isinstance(verdict(error), TryAgain)
    given_up = verdict(error, errors=5)
    assert isinstance(given_up, GiveUp)
    assert given_up.code == "unexpected"
    assert "RuntimeError: GET https://" in given_up.error
    assert "hunter2" not in given_up.error


def test_a_server_that_says_when_is_asked_again_then_however_often_it_has_said_so() -> None:
    throttled = EmbeddingServerError("429 Too Many Requests")
    throttled.retry_after = 90.0

    assert verdict(throttled, errors=50) == TryAgain(seconds=90.0)


@given(times=st.integers(0, 10_000), jitter=st.floats(0, 1))
def test_a_wait_never_exceeds_five_minutes_and_jitter_takes_at_most_half_of_it(
    times: int, jitter: float
) -> None:
    assert backoff(times, 1.0) / 2 <= backoff(times, jitter) <= backoff(times, 1.0) <= 300.0
    assert backoff(times, jitter) <= backoff(times + 1, jitter)


def test_deaths_count_from_the_end_until_something_else_happened() -> None:
    ended = [attempt(ERROR, 3), attempt(LOST, 3), attempt(LOST, 3), attempt(None, 3)]

    assert losses_in_a_row(ended, NOW) == 3
    assert losses_in_a_row([*ended[:-1], attempt(INTERRUPTED, 3)], NOW) == 0


def test_deaths_before_an_attempt_that_got_somewhere_do_not_count() -> None:
    long = attempt(LOST, LONG_ATTEMPT_SECONDS + 1)

    assert losses_in_a_row([attempt(LOST, 3), long, attempt(LOST, 3)], NOW) == 1


def test_the_first_deaths_cost_no_time_and_no_wait_hides_that_an_attempt_was_short() -> None:
    waits = [wait_after_losses(losses) for losses in range(8)]

    assert waits == [0.0, 0.0, 5.0, 10.0, 20.0, 40.0, 60.0, 60.0]
    assert LONGEST_WAIT_AFTER_LOSS_SECONDS < LONG_ATTEMPT_SECONDS / 1.5


def test_more_deaths_are_borne_than_errors() -> None:
    assert [is_lost_for_good(losses, 5) for losses in (5, 14, 15)] == [False, False, True]
