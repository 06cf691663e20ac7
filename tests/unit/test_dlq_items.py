"""When the failed jobs of a queue of this process are retried: by example, and by property."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from lexigram_ray.core.types import FailureCategory
from lexigram_ray.jobs.foreign_queue import Message, id_of_content
from lexigram_ray.jobs.retry_policy import MOST_RETRIES_OF_UNKNOWN, RetryPolicy
from lexigram_ray.workers.dlq._items import FailedItems, Sending

BASE, CAP, MOST = 60.0, 3600.0, 5
POLICY = RetryPolicy(most_retries=MOST, base_seconds=BASE, cap_seconds=CAP)
ERRORS = {
    "Connection timeout": FailureCategory.TRANSIENT,
    "rate limit exceeded": FailureCategory.THROTTLED,
    "zork": FailureCategory.UNKNOWN,
    "invalid input": FailureCategory.INVALID_INPUT,
    "permission denied": FailureCategory.PERMANENT,
}
RETRIED = {
    FailureCategory.TRANSIENT: MOST,
    FailureCategory.THROTTLED: MOST,
    FailureCategory.UNKNOWN: MOST_RETRIES_OF_UNKNOWN,
    FailureCategory.INVALID_INPUT: 0,
    FailureCategory.PERMANENT: 0,
}


@dataclass
class Clock:
    """A clock and a die that only tests move."""

    seconds: float = 1_800_000_000.0
    jitter: float = 1.0

    def items(self) -> FailedItems:
        return FailedItems(POLICY, clock=lambda: self.seconds, jitter=lambda: self.jitter)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def items(clock: Clock) -> FailedItems:
    return clock.items()


def task(job_id: str = "job-1", **kwargs: object) -> Message:
    return Message(id=job_id, name="embed", kwargs=kwargs)


def fail(items: FailedItems, job_id: str = "job-1", error: str = "Connection timeout") -> None:
    given = task(job_id, of=job_id)
    items.failed(given, given, error)


def begun(items: FailedItems, job_id: str = "job-1", *, asked: bool = False) -> Sending:
    sending = items.begin(job_id, asked=asked)
    assert sending is not None
    return sending


@pytest.mark.parametrize("error", ["Connection timeout", "rate limit exceeded", "zork"])
def test_a_failure_waits_at_least_half_of_its_time(
    items: FailedItems, clock: Clock, error: str
) -> None:
    clock.jitter = 0.0
    fail(items, error=error)

    clock.seconds += BASE / 2 - 0.01
    assert items.due() == []
    clock.seconds += 0.02
    assert items.due() == ["job-1"]


def test_what_a_server_asks_for_is_waited_and_costs_no_retry(
    items: FailedItems, clock: Clock
) -> None:
    fail(items)
    clock.seconds += BASE
    items.sent(begun(items), "again")

    fail(items, "again", "429 Too Many Requests: try again in 500 s")

    [item] = items.listed(None, 10)
    assert (item.job_id, item.failure_count, item.retry_count) == ("job-1", 2, 0)
    assert item.next_retry == datetime.fromtimestamp(clock.seconds + 500, UTC)


def test_a_refused_retry_keeps_the_item_and_comes_again_later(
    items: FailedItems, clock: Clock
) -> None:
    fail(items)
    clock.seconds += BASE

    items.refused(begun(items))

    assert items.due() == []
    clock.seconds += BASE
    assert items.due() == ["job-1"]
    assert items.listed(None, 1)[0].retry_count == 0


def test_an_item_is_begun_once_however_many_ask(items: FailedItems, clock: Clock) -> None:
    fail(items)
    sending = begun(items, asked=True)

    assert items.begin("job-1", asked=True) is None
    items.sent(sending, "again")
    assert items.begin("job-1", asked=True) is None
    # The queue may have lost it: a person may ask once more, after the time of a further retry.
    clock.seconds += 2 * BASE
    assert items.due() == []
    assert items.begin("job-1", asked=True) is not None


def test_a_retry_that_ends_before_the_queue_has_told_its_id_lets_go_of_the_item(
    items: FailedItems,
) -> None:
    fail(items)
    sending = begun(items, asked=True)

    assert not items.succeeded("again")
    items.sent(sending, "again")

    assert items.listed(None, 1) == []


def test_a_retry_that_fails_before_the_queue_has_told_its_id_counts_up_its_item(
    items: FailedItems,
) -> None:
    fail(items)
    sending = begun(items, asked=True)

    given = task("again", of="job-1")
    items.failed(given, given, "invalid input")
    items.sent(sending, "again")
    fail(items, "again", "invalid input")

    [item] = items.listed(None, 10)
    assert (item.job_id, item.failure_count, item.retry_count) == ("job-1", 3, 1)
    assert item.failure_category is FailureCategory.INVALID_INPUT


def test_a_queue_without_ids_is_known_by_what_it_delivers(items: FailedItems) -> None:
    fail(items)
    items.sent(begun(items, asked=True), "an id that nobody delivers")

    assert not items.succeeded(id_of_content("embed", {"of": "another"}))
    assert items.succeeded(id_of_content("embed", {"of": "job-1"}))


def test_jobs_that_ask_for_the_same_are_items_of_their_own(items: FailedItems) -> None:
    for job_id in ("one", "two"):
        given = task(job_id, of="both")
        items.failed(given, given, "Connection timeout")
        items.sent(begun(items, job_id, asked=True), f"again {job_id}")
    given = task("three", of="both")
    items.failed(given, given, "Connection timeout")

    assert [item.job_id for item in items.listed(None, 10)] == ["three", "two", "one"]
    assert not items.succeeded("four", task("four", of="both"))
    assert items.succeeded("again one")
    assert [item.job_id for item in items.listed(None, 10)] == ["three", "two"]


def test_an_archived_item_stays_and_is_neither_retried_nor_told_of(
    items: FailedItems, clock: Clock
) -> None:
    fail(items)

    assert items.archive("job-1")
    assert items.archive("job-1")

    clock.seconds += CAP
    [item] = items.listed(FailureCategory.PERMANENT, 10)
    assert item.metadata["archived"] is True
    assert (items.due(), items.untold()) == ([], [])
    assert items.begin("job-1", asked=True) is None
    assert items.stats().archived_count == 1
    fail(items)
    assert "archived" not in items.listed(None, 1)[0].metadata
    assert not items.archive("nobody")


def test_secrets_of_an_error_are_not_kept(items: FailedItems) -> None:
    fail(items, error="401 for Authorization: Bearer abcdefgh12345")

    assert "abcdefgh12345" not in items.listed(None, 1)[0].last_error


@dataclass
class Expected:
    """What a job's item is to be.

    Attributes:
        failed_at: When it failed last.
        retries: That were acknowledged.
    """

    error: str
    failed_at: float
    failures: int = 1
    retries: int = 0
    under_way: str = ""
    refused: bool = False


class Schedule(RuleBasedStateMachine):
    """Jobs fail, are swept, succeed and fail again, in any order; the clock only goes on."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = Clock()
        self.items = self.clock.items()
        self.expected: dict[str, Expected] = {}
        self.ids = 0

    @rule(job=st.sampled_from("abc"), error=st.sampled_from(sorted(ERRORS)), jitter=st.floats(0, 1))
    def a_job_fails(self, job: str, error: str, jitter: float) -> None:
        self.clock.jitter = jitter
        known = self.expected.get(job)
        # Under the id of its retry, where one is under way.
        fail(self.items, (known.under_way if known else "") or job, error)
        if known is None:
            self.expected[job] = Expected(error, self.clock.seconds)
        else:
            known.error, known.failed_at, known.under_way = error, self.clock.seconds, ""
            known.failures += 1
            known.refused = False

    @rule(seconds=st.floats(0, 2 * CAP))
    def time_passes(self, seconds: float) -> None:
        self.clock.seconds += seconds

    @rule(is_taken=st.booleans(), jitter=st.floats(0, 1))
    def a_sweep(self, is_taken: bool, jitter: float) -> None:
        self.clock.jitter = jitter
        for job in self.items.due():
            known = self.expected[job]
            waited = self.clock.seconds - known.failed_at
            longest = min(CAP, BASE * 2**known.retries)
            assert known.refused or waited >= longest / 2 - 1e-3
            assert known.retries < RETRIED[ERRORS[known.error]]
            assert not known.under_way
            self._send(job, known, is_taken=is_taken)

    @precondition(lambda self: self.expected)
    @rule(data=st.data(), is_taken=st.booleans())
    def a_person_asks(self, data: st.DataObject, is_taken: bool) -> None:
        job = data.draw(st.sampled_from(sorted(self.expected)))
        known = self.expected[job]
        sending = self.items.begin(job, asked=True)
        if known.under_way:
            assert sending is None or self.clock.seconds > known.failed_at
        else:
            assert sending is not None
        if sending is not None:
            self._finish(sending, job, known, is_taken=is_taken)

    @precondition(lambda self: any(each.under_way for each in self.expected.values()))
    @rule(data=st.data())
    def a_retry_succeeds(self, data: st.DataObject) -> None:
        tried = sorted(job for job, known in self.expected.items() if known.under_way)
        job = data.draw(st.sampled_from(tried))
        assert self.items.succeeded(self.expected.pop(job).under_way)

    @invariant()
    def nothing_is_lost_and_the_category_follows_the_last_error(self) -> None:
        shown = {item.job_id: item for item in self.items.listed(None, 100)}
        assert shown.keys() == self.expected.keys()
        for job, known in self.expected.items():
            item = shown[job]
            assert item.failure_category is ERRORS[known.error]
            assert (item.failure_count, item.retry_count) == (known.failures, known.retries)

    @invariant()
    def what_has_waited_its_whole_time_is_due(self) -> None:
        due = set(self.items.due())
        for job, known in self.expected.items():
            is_left = known.retries < RETRIED[ERRORS[known.error]]
            waits = is_left and not known.under_way
            longest = min(CAP, BASE * 2**known.retries)
            is_over = self.clock.seconds - known.failed_at > longest + 1e-3
            if not waits or known.refused:
                assert waits or job not in due
            else:
                assert job in due or not is_over

    @invariant()
    def what_failed_and_is_not_retried_is_told_of(self) -> None:
        told = {item.job_id for item in self.items.untold()}
        for job, known in self.expected.items():
            is_left = known.retries < RETRIED[ERRORS[known.error]]
            assert (job in told) == (not is_left and not known.under_way)

    def _send(self, job: str, known: Expected, *, is_taken: bool) -> None:
        sending = self.items.begin(job, asked=False)
        assert sending is not None
        self._finish(sending, job, known, is_taken=is_taken)

    def _finish(self, sending: Sending, job: str, known: Expected, *, is_taken: bool) -> None:
        assert sending.task.kwargs == {"of": job}
        if not is_taken:
            self.items.refused(sending)
            known.refused = True
            return
        self.ids += 1
        known.under_way, known.retries = f"retry-{self.ids}", known.retries + 1
        self.items.sent(sending, known.under_way)


TestSchedule = Schedule.TestCase
TestSchedule.settings = settings(
    max_examples=150,
    stateful_step_count=30,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
