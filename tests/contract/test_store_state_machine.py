"""A job's life as a state machine: whatever happens, it has one owner at a time and one end."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    invariant,
    multiple,
    rule,
    run_state_machine_as_test,
)

from lexigram_ray.core.errors import LeaseLostError, UsageError
from lexigram_ray.core.types import JobStatus
from lexigram_ray.jobs.letter_records import (
    DeadLetter,
    LetterFilter,
    LetterRetry,
    LetterStatus,
    Subject,
)
from lexigram_ray.jobs.owner import Owner
from lexigram_ray.jobs.records import Busy, Claim, Job, LedgerState, Submission
from lexigram_ray.jobs.store import Store
from lexigram_ray.jobs.transitions import TRANSITIONS, Transition
from tests.contract.conftest import STORES
from tests.contract.store_data import Clock, elsewhere, entry, gone

LEASE_SECONDS = 60
# An owner that is gone claims as a process that crashes right after its claim.
OWNERS = st.sampled_from([elsewhere(1), elsewhere(2), gone()])
WAITS = st.sampled_from([0, 20, 90])
DEADLINES = st.sampled_from([None, None, 100])


@dataclass
class Expected:
    """What the store must say of one job."""

    spec_key: str
    priority: int
    deadline: float
    run_after: float = 0.0
    status: JobStatus = JobStatus.PENDING
    fence: int = 0
    owner: Owner | None = None
    lease_until: float = 0.0


class JobLife(RuleBasedStateMachine):
    store_name = ""
    claims = Bundle("claims")

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.clock = Clock()
        self.store = Store.open(STORES[self.store_name](Path(self.folder.name)), clock=self.clock)
        self.expected: dict[str, Expected] = {}
        self.before: dict[str, Job] = {}
        self.by = ""

    def teardown(self) -> None:
        self.store.close()
        self.folder.cleanup()

    # -- What is expected --------------------------------------------------------------------------

    def is_overdue(self, job: Expected) -> bool:
        return job.deadline <= self.clock()

    def is_held(self, job: Expected) -> bool:
        return (
            job.status is JobStatus.RUNNING
            and job.owner != gone()
            and job.lease_until > self.clock()
        )

    def is_ready(self, job: Expected) -> bool:
        if job.status.is_final or self.is_held(job) or self.is_overdue(job):
            return False
        return job.status is JobStatus.RUNNING or job.run_after <= self.clock()

    def holds(self, claim: Claim) -> bool:
        job = self.expected[claim.job_id]
        return job.status is JobStatus.RUNNING and job.fence == claim.fence

    def picked(self, number: int) -> tuple[str, Expected]:
        job_id = sorted(self.expected)[number % len(self.expected)]
        return job_id, self.expected[job_id]

    def note_claim(self, claim: Claim) -> None:
        job = self.expected[claim.job_id]
        assert claim.fence == job.fence + 1
        job.status, job.fence, job.owner = JobStatus.RUNNING, claim.fence, claim.owner
        job.lease_until = self.clock() + LEASE_SECONDS

    def refused(self, claim: Claim, by: str, write: Callable[[], object]) -> bool:
        self.by = by
        if self.holds(claim):
            write()
            return False
        with pytest.raises(LeaseLostError):
            write()
        return True

    # -- What happens ------------------------------------------------------------------------------

    @rule(
        spec_key=st.sampled_from("abc"),
        priority=st.integers(0, 2),
        wait=WAITS,
        deadline=DEADLINES,
        in_batch=st.booleans(),
    )
    def submit(
        self, spec_key: str, priority: int, wait: int, deadline: int | None, in_batch: bool
    ) -> None:
        alike = [
            job_id
            for job_id, job in self.expected.items()
            if job.spec_key == spec_key and not job.status.is_final
        ]
        start, end = self.clock() + wait, self.clock() + (deadline or 1e9)
        submission = Submission(
            kind="ingest",
            collection="docs",
            spec={},
            spec_key=spec_key,
            priority=priority,
            run_after=datetime.fromtimestamp(start, UTC),
            deadline=datetime.fromtimestamp(end, UTC),
        )
        if in_batch:
            self.by = "submit_many"
            (job, is_new), (again, is_again_new) = self.store.submit_many([submission] * 2)
            assert (again.id, is_again_new) == (job.id, False)
        else:
            self.by = "submit"
            given = {name: getattr(submission, name) for name in Submission.__slots__}
            job, is_new = self.store.submit(**given)
        assert is_new is (not alike)
        assert not alike or alike == [job.id]
        self.expected.setdefault(job.id, Expected(spec_key, priority, end, run_after=start))

    @rule(target=claims, number=st.integers(0, 9), owner=OWNERS)
    def claim(self, number: int, owner: Owner) -> object:
        self.by = "claim"
        if not self.expected:
            return multiple()
        job_id, job = self.picked(number)
        if self.is_held(job):
            busy = self.store.claim(job_id, owner, LEASE_SECONDS)
            assert isinstance(busy, Busy)
            assert busy.owner == job.owner
            return multiple()
        if job.status.is_final or self.is_overdue(job):
            with pytest.raises(LeaseLostError):
                self.store.claim(job_id, owner, LEASE_SECONDS)
            job.status = job.status if job.status.is_final else JobStatus.FAILED
            return multiple()
        claim = self.store.claim(job_id, owner, LEASE_SECONDS)
        assert isinstance(claim, Claim)
        self.note_claim(claim)
        return claim

    @rule(target=claims, owner=OWNERS)
    def claim_next(self, owner: Owner) -> object:
        self.by = "claim_next"
        free = {job_id: job for job_id, job in self.expected.items() if self.is_ready(job)}
        ready = self.store.ready(["ingest"], limit=100)
        assert {job.id for job in ready} == set(free)
        claim = self.store.claim_next("ingest", owner, LEASE_SECONDS)
        assert (claim is not None) is bool(free)
        if claim is None:
            return multiple()
        assert claim.job_id == ready[0].id
        assert free[claim.job_id].priority == max(job.priority for job in free.values())
        self.note_claim(claim)
        return claim

    @rule(seconds=st.sampled_from([1, 30, 61]))
    def time_passes(self, seconds: int) -> None:
        self.by = ""
        self.clock.advance(seconds)

    @rule(claim=claims)
    def beat(self, claim: Claim) -> None:
        if not self.refused(claim, "beat", lambda: self.store.beat(claim, LEASE_SECONDS)):
            self.expected[claim.job_id].lease_until = self.clock() + LEASE_SECONDS

    @rule(claim=claims)
    def write_to_the_ledger(self, claim: Claim) -> None:
        write = lambda: self.store.record_intent(claim, [entry()])  # noqa: E731
        if not self.refused(claim, "record_intent", write):
            assert self.store.ledger("docs")[entry().document_id].job_id == claim.job_id

    @rule(claim=claims, number=st.integers(1, 3), fails=st.booleans())
    def a_document_ends(self, claim: Claim, number: int, fails: bool) -> None:
        state = LedgerState.FAILED if fails else LedgerState.SKIPPED
        write = lambda: self.store.mark_outcome(claim, [entry(number, state=state)], [])  # noqa: E731
        if not self.refused(claim, "mark_outcome", write):
            of_it = {each.subject_id: each for each in self.letters()}
            assert (entry(number).document_id in of_it) is fails

    @rule(spec_key=st.sampled_from("abc"))
    def retry_letters(self, spec_key: str) -> None:
        self.by = "submit_many"
        ids = tuple(each.id for each in self.letters() if each.status is LetterStatus.OPEN)
        submission = Submission(kind="ingest", collection="docs", spec={}, spec_key=spec_key)
        made = self.store.dead_letters.retry([LetterRetry(submission=submission, letter_ids=ids)])
        assert len(made) == bool(ids)
        for job, _ in made:
            self.expected.setdefault(job.id, Expected(spec_key, 0, 1e12))

    def letters(self) -> list[DeadLetter]:
        return list(self.store.dead_letters.each(LetterFilter()))

    @rule(claim=claims, wait=WAITS)
    def release(self, claim: Claim, wait: int) -> None:
        write = lambda: self.store.release(claim, "error", wait_seconds=wait)  # noqa: E731
        if not self.refused(claim, "release", write):
            job = self.expected[claim.job_id]
            job.status, job.run_after = JobStatus.PENDING, self.clock() + wait

    @rule(claim=claims, wait=WAITS)
    def snooze(self, claim: Claim, wait: int) -> None:
        if not self.refused(claim, "snooze", lambda: self.store.snooze(claim, wait, "429")):
            job = self.expected[claim.job_id]
            job.status, job.run_after = JobStatus.PENDING, self.clock() + wait

    @rule(claim=claims, status=st.sampled_from([s for s in JobStatus if s.is_final]))
    def finish(self, claim: Claim, status: JobStatus) -> None:
        write = lambda: self.store.finish(claim, status, summary={})  # noqa: E731
        if not self.refused(claim, "finish", write):
            self.expected[claim.job_id].status = status

    @rule(number=st.integers(0, 9), behind=st.integers(0, 1), wait=WAITS)
    def postpone(self, number: int, behind: int, wait: int) -> None:
        self.by = "postpone"
        if self.expected:
            job_id, job = self.picked(number)
            is_as_seen = job.status is JobStatus.PENDING and not behind
            assert self.store.postpone(job_id, job.fence - behind, wait) is is_as_seen
            job.run_after = self.clock() + wait if is_as_seen else job.run_after

    @rule(number=st.integers(0, 9), behind=st.integers(0, 1))
    def give_up(self, number: int, behind: int) -> None:
        self.by = "give_up"
        if self.expected:
            job_id, job = self.picked(number)
            is_as_seen = job.status is JobStatus.PENDING and not behind
            given_up = self.store.give_up(
                job_id, job.fence - behind, error="tried too often", error_code="x"
            )
            assert given_up is is_as_seen
            job.status = JobStatus.FAILED if is_as_seen else job.status

    @rule(number=st.integers(0, 9))
    def cancel(self, number: int) -> None:
        self.by = "cancel"
        if not self.expected:
            return
        job_id, job = self.picked(number)
        if job.status in {JobStatus.COMPLETED, JobStatus.FAILED}:
            with pytest.raises(UsageError):
                self.store.cancel(job_id, elsewhere(), turn_seconds=30)
            return
        cancelled = self.store.cancel(job_id, elsewhere(), turn_seconds=30)
        assert cancelled.status is JobStatus.CANCELLED
        job.status = JobStatus.CANCELLED

    @rule()
    def fail_overdue(self) -> None:
        self.by = "fail_overdue"
        overdue = [
            job_id
            for job_id, job in self.expected.items()
            if not job.status.is_final and self.is_overdue(job)
        ]
        assert sorted(self.store.fail_overdue(elsewhere(), turn_seconds=30)) == sorted(overdue)
        for job_id in overdue:
            self.expected[job_id].status = JobStatus.FAILED

    # -- What always holds -------------------------------------------------------------------------

    @invariant()
    def the_store_is_as_expected_and_changes_only_as_the_table_says(self) -> None:
        jobs = {job.id: job for job in self.store.list_jobs(limit=1000)[0]}
        assert {job_id: (job.status, job.fence, job.attempt) for job_id, job in jobs.items()} == {
            job_id: (job.status, job.fence, job.fence) for job_id, job in self.expected.items()
        }
        for job_id, job in jobs.items():
            old = self.before.get(job_id)
            if old is not None and old.status.is_final:
                assert job == old
            elif old is None or (old.status, old.fence) != (job.status, job.fence):
                assert job.fence >= (old.fence if old else 0)
                before = old.status if old else None
                assert Transition(before, job.status, self.by) in TRANSITIONS
        assert set(self.before) <= set(jobs)
        self.before = jobs

    @invariant()
    def each_failure_has_one_letter_and_no_retry_outlives_its_job(self) -> None:
        letters = self.letters()
        assert len({(each.subject, each.subject_id) for each in letters}) == len(letters)
        for letter in letters:
            assert (letter.status is LetterStatus.RETRYING) is (letter.retry_job_id is not None)
            if letter.retry_job_id is not None:
                assert not self.expected[letter.retry_job_id].status.is_final
        failed_specs = {each.subject_id for each in letters if each.subject is Subject.JOB}
        for spec_key in {job.spec_key for job in self.expected.values()} - failed_specs:
            ended = [job for job in self.expected.values() if job.spec_key == spec_key]
            last = [job for job in ended if job.status.is_final][-1:]
            assert all(job.status is not JobStatus.FAILED for job in last)

    @invariant()
    def only_the_last_attempt_of_a_running_job_is_open(self) -> None:
        for job_id, job in self.expected.items():
            attempts = self.store.attempts_of(job_id)
            assert [attempt.fence for attempt in attempts] == list(range(1, job.fence + 1))
            is_open = [attempt.ended_at is None for attempt in attempts]
            assert not any(is_open[:-1])
            assert any(is_open) is (job.status is JobStatus.RUNNING)


@pytest.mark.slow
@pytest.mark.parametrize("store_name", sorted(STORES))
def test_a_job_has_one_owner_at_a_time_and_an_end_that_stays(store_name: str) -> None:
    machine = type("JobLifeOn", (JobLife,), {"store_name": store_name})

    run_state_machine_as_test(
        machine,
        settings=settings(
            # Each step costs several times as much on a server.
            max_examples=20 if store_name == "sqlite" else 6,
            stateful_step_count=30,
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
