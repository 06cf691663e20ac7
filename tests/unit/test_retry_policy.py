"""When failures are retried: by any category, count, word of a server and movement of the clock."""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lexigram_ray.core.config import load_config
from lexigram_ray.core.types import FailureCategory, JobStatus
from lexigram_ray.jobs.letter_records import (
    DeadLetter,
    LetterFilter,
    LetterStatus,
    NewFailure,
    Subject,
)
from lexigram_ray.jobs.letter_sweep import Pace, Sweeper
from lexigram_ray.jobs.retry_policy import NEVER, RetryPolicy, due_at
from lexigram_ray.jobs.store import Store
from tests.job_data import ended, ingest_spec, submitted

NOW = datetime(2027, 1, 15, tzinfo=UTC)
HOUR = 3600.0
POLICY = RetryPolicy(most_retries=5, base_seconds=60.0, cap_seconds=3600.0)
RETRIED = [each for each in FailureCategory if each not in NEVER]

policies = st.builds(
    RetryPolicy,
    most_retries=st.integers(0, 2_000),
    base_seconds=st.floats(0.001, 1e5),
    cap_seconds=st.floats(0.001, 1e6),
)
categories = st.sampled_from(sorted(FailureCategory))
jitters = st.floats(0, 1)


@given(
    policy=policies,
    category=categories,
    count=st.integers(0, 3_000),
    after=st.none() | st.floats(0, 30 * 86_400),
    jitter=jitters,
)
def test_a_wait_is_at_least_retry_after_and_within_half_and_all_of_the_capped_double(
    policy: RetryPolicy, category: FailureCategory, count: int, after: float | None, jitter: float
) -> None:
    wait = policy.wait(category, count, after, jitter)

    assert (wait is None) == (count >= policy.max_retries(category))
    if wait is None:
        return
    longest = min(policy.cap_seconds, policy.base_seconds * 2.0 ** min(count, 1_000))
    assert wait >= (after or 0)
    assert wait >= longest / 2 or math.isclose(wait, longest / 2)
    assert wait <= max(longest, after or 0)


@given(policy=policies, jitter=jitters)
def test_waits_grow_up_to_the_cap_and_never_beyond(policy: RetryPolicy, jitter: float) -> None:
    waits = [
        policy.wait(FailureCategory.TRANSIENT, count, None, jitter) or 0
        for count in range(min(policy.most_retries, 80))
    ]

    assert waits == sorted(waits)
    assert all(wait <= policy.cap_seconds for wait in waits)


@given(policy=policies)
def test_what_cannot_pass_is_never_retried_and_what_nobody_knows_three_times_at_most(
    policy: RetryPolicy,
) -> None:
    assert policy.max_retries(FailureCategory.INVALID_INPUT) == 0
    assert policy.max_retries(FailureCategory.PERMANENT) == 0
    assert policy.max_retries(FailureCategory.UNKNOWN) == min(3, policy.most_retries)
    assert policy.max_retries(FailureCategory.THROTTLED) == policy.most_retries


@given(
    failed=st.floats(-HOUR, HOUR),
    wait=st.floats(0, 86_400),
)
def test_a_failure_from_the_future_is_retried_late_rather_than_early(
    failed: float, wait: float
) -> None:
    failed_at = NOW + timedelta(seconds=failed)

    due = due_at(failed_at, wait, NOW)

    assert due >= NOW
    assert due - failed_at >= timedelta(seconds=wait) or due == max(
        NOW, NOW + timedelta(seconds=wait)
    )


def test_a_server_that_asks_for_ages_is_not_taken_at_its_word() -> None:
    waits = [POLICY.wait(FailureCategory.THROTTLED, 0, after, 1.0) for after in (1e300, math.inf)]

    assert waits == [365 * 86_400.0] * 2
    assert POLICY.wait(FailureCategory.THROTTLED, 0, math.nan, 1.0) == 60.0


class Life:
    """A failing document's letter under a sweeper, with a clock that may be set.

    Attributes:
        seconds: What the clock says.
        passed: Seconds that have really passed.
    """

    def __init__(self, folder: Path, category: FailureCategory, retry_after: float | None) -> None:
        self.seconds = NOW.timestamp()
        self.passed = 0.0
        self.document = folder / "a.txt"
        self.document.write_text("text")
        self.failure = NewFailure(
            subject=Subject.DOCUMENT,
            subject_id="1",
            source=str(self.document),
            origin=str(self.document),
            category=category,
            code="code",
            error="it failed",
            retry_after=retry_after,
        )
        self.store = Store.open(f"sqlite:///{folder / 'jobs.db'}", clock=lambda: self.seconds)
        chance = random.Random(1)
        config = load_config(state_dir=folder)
        # Two of them, as if one had been left over by another cluster.
        self.sweepers = [
            Sweeper(config, self.store, lambda: self.seconds, chance.random) for _ in range(2)
        ]
        self._failed_at = 0.0
        self.fail(submitted(self.store, ingest_spec(self.document)).id)

    def fail(self, job_id: str) -> None:
        job = self.store.get(job_id)
        assert job is not None
        self.store.dead_letters.add("ingest", "papers", job_id, [self.failure])
        self._failed_at = self.passed
        ended(self.store, job, JobStatus.COMPLETED)

    def advance(self, seconds: float) -> None:
        self.seconds += seconds
        self.passed += seconds

    def waits(self, most: int) -> list[float]:
        """Let each retry fail; return what really passed before each."""
        waited: list[float] = []
        for _ in range(most):
            for sweeper in self.sweepers:
                sweeper.look()
            pending, _ = self.store.list_jobs(status=JobStatus.PENDING)
            assert len(pending) <= 1
            if pending:
                waited.append(self.passed - self._failed_at)
                self.fail(pending[0].id)
            self.advance(15)
        return waited

    def letters(self) -> list[DeadLetter]:
        return list(self.store.dead_letters.each(LetterFilter()))

    def letter(self) -> DeadLetter:
        [letter] = self.letters()
        return letter


@pytest.mark.parametrize(
    ("category", "times"),
    [(each, {"unknown": 3, "invalid_input": 0, "permanent": 0}.get(each, 5)) for each in RETRIED]
    + [(each, 0) for each in sorted(NEVER)],
)
def test_each_category_is_retried_as_often_as_it_may_and_no_earlier(
    tmp_path: Path, category: FailureCategory, times: int
) -> None:
    life = Life(tmp_path, category, None)

    with life.store:
        waited = life.waits(300)

        assert len(waited) == times
        for count, seconds in enumerate(waited):
            # A look every 15 seconds.
            assert 30 * 2**count <= seconds <= 60 * 2**count + 30
        assert (life.letter().retry_count, life.letter().status) == (times, LetterStatus.OPEN)


def test_a_server_that_says_when_is_heeded_and_that_costs_no_retry(tmp_path: Path) -> None:
    life = Life(tmp_path, FailureCategory.THROTTLED, 200.0)

    with life.store:
        waited = life.waits(150)

        assert len(waited) >= 8
        assert all(200 <= seconds <= 230 for seconds in waited)
        assert life.letter().retry_count == 0


def test_what_failed_in_one_job_is_retried_as_one_job_each_time(tmp_path: Path) -> None:
    life = Life(tmp_path, FailureCategory.TRANSIENT, None)
    failures = [replace(life.failure, subject_id=str(number)) for number in range(2, 40)]
    with life.store:
        [first] = life.store.list_jobs()[0]
        for failure in failures:
            life.store.dead_letters.add("ingest", "papers", first.id, [failure])
            life.advance(0.1)
        times: list[int] = []
        for _ in range(3):
            life.sweepers[0].look()
            life.advance(4 * HOUR)
            life.sweepers[0].look()
            pending, _ = life.store.list_jobs(status=JobStatus.PENDING)
            times.append(len({each.next_retry_at for each in life.letters()}))
            [job] = pending
            for failure in [life.failure, *failures]:
                life.store.dead_letters.add("ingest", "papers", job.id, [failure])
                life.advance(0.1)
            ended(life.store, job, JobStatus.COMPLETED)

            life.sweepers[0].look()
            assert len({each.next_retry_at for each in life.letters()}) == 1

        assert times == [1, 1, 1]


@settings(
    max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(jumps=st.lists(st.sampled_from([-HOUR, HOUR]), min_size=1, max_size=3), at=st.integers(1, 9))
def test_a_clock_that_is_set_loses_no_retry_and_doubles_none(
    tmp_path_factory: pytest.TempPathFactory, jumps: list[float], at: int
) -> None:
    life = Life(tmp_path_factory.mktemp("life"), FailureCategory.TRANSIENT, None)

    with life.store:
        waited: list[float] = []
        for jump in jumps:
            waited += life.waits(at)
            life.seconds += jump
        # However far it was set back: longer than all of that.
        for _ in range(60):
            life.advance(400)
            waited += life.waits(1)

        assert len(waited) == 5
        retries = Counter(job.retry_of for job in life.store.list_jobs()[0] if job.retry_of)
        assert set(retries.values()) == {1}
        assert life.letter().retry_count == 5


def scheduled(letter: DeadLetter, seconds: Sequence[float], *, asked: bool) -> list[DeadLetter]:
    return [
        replace(letter, id=str(at), asked=asked, next_retry_at=NOW + timedelta(seconds=at))
        for at in seconds
    ]


def test_a_rate_holds_after_a_pause_and_automatic_retries_do_not_wait_for_it(
    tmp_path: Path,
) -> None:
    life = Life(tmp_path, FailureCategory.TRANSIENT, None)
    with life.store:
        plan = scheduled(life.letter(), range(600), asked=True)
        others = scheduled(life.letter(), [1.5], asked=False)
    pace = Pace()
    let_go: list[int] = []

    # The one who retries comes ten minutes late, and looks once a second.
    for second in range(600, 640):
        gone = sum(let_go)
        due = [*plan[gone:], *(others if second == 600 else [])]
        now = pace.let_go(due, NOW + timedelta(seconds=second))
        let_go.append(sum(letter.asked for letter in now))
        assert sum(not letter.asked for letter in now) == (second == 600)

    assert let_go == [1] * 40
    assert len(pace.let_go(plan[40:], NOW + timedelta(hours=5))) == 10
