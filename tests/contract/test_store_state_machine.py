"""A job's life as a state machine: whatever happens, it has one owner at a time."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
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

from lexigram_ray.core.errors import LeaseLostError
from lexigram_ray.core.types import JobStatus
from lexigram_ray.jobs.owner import Owner
from lexigram_ray.jobs.records import Busy, Claim, Job
from lexigram_ray.jobs.store import Store
from tests.contract.conftest import STORES
from tests.contract.store_data import Clock, elsewhere, entry, gone

LEASE_SECONDS = 60


@dataclass
class Expected:
    """What the store must say of one job."""

    spec_key: str
    status: JobStatus = JobStatus.PENDING
    fence: int = 0
    owner: Owner | None = None
    lease_until: float = 0.0

    @property
    def is_unfinished(self) -> bool:
        return not self.status.is_final


class JobLife(RuleBasedStateMachine):
    store_name = ""
    claims = Bundle("claims")

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.clock = Clock()
        self.store = Store.open(STORES[self.store_name](Path(self.folder.name)), clock=self.clock)
        self.expected: dict[str, Expected] = {}
        self.finals: dict[str, Job] = {}

    def teardown(self) -> None:
        self.store.close()
        self.folder.cleanup()

    def can_be_taken(self, job: Expected) -> bool:
        if job.status is JobStatus.PENDING:
            return True
        return job.status is JobStatus.RUNNING and (
            job.owner == gone() or job.lease_until <= self.clock()
        )

    def holds(self, claim: Claim) -> bool:
        job = self.expected[claim.job_id]
        return job.status is JobStatus.RUNNING and job.fence == claim.fence

    def note(self, claim: Claim) -> None:
        job = self.expected[claim.job_id]
        assert claim.fence == job.fence + 1
        job.status, job.fence, job.owner = JobStatus.RUNNING, claim.fence, claim.owner
        job.lease_until = self.clock() + LEASE_SECONDS

    @rule(spec_key=st.sampled_from("abc"), priority=st.integers(0, 2))
    def submit(self, spec_key: str, priority: int) -> None:
        alike = [
            job_id
            for job_id, job in self.expected.items()
            if job.spec_key == spec_key and job.is_unfinished
        ]
        job, is_new = self.store.submit(
            kind="ingest", collection="docs", spec={}, spec_key=spec_key, priority=priority
        )
        assert is_new is (not alike)
        assert not alike or alike == [job.id]
        self.expected.setdefault(job.id, Expected(spec_key))

    # An owner that is gone claims as a process that crashes right after its claim.
    @rule(
        target=claims,
        number=st.integers(0, 9),
        owner=st.sampled_from([elsewhere(1), elsewhere(2), gone()]),
    )
    def claim(self, number: int, owner: Owner) -> object:
        if not self.expected:
            return multiple()
        job_id = sorted(self.expected)[number % len(self.expected)]
        job = self.expected[job_id]
        if not job.is_unfinished:
            with pytest.raises(LeaseLostError):
                self.store.claim(job_id, owner, LEASE_SECONDS)
            return multiple()
        can_be_taken = self.can_be_taken(job)
        claim = self.store.claim(job_id, owner, LEASE_SECONDS)
        assert isinstance(claim, Claim) is can_be_taken
        if isinstance(claim, Busy):
            assert claim.owner == job.owner
            return multiple()
        self.note(claim)
        return claim

    @rule(target=claims, owner=st.sampled_from([elsewhere(1), elsewhere(2), gone()]))
    def claim_next(self, owner: Owner) -> object:
        free = [job_id for job_id, job in self.expected.items() if self.can_be_taken(job)]
        claim = self.store.claim_next("ingest", owner, LEASE_SECONDS)
        assert (claim is not None) is bool(free)
        if claim is None:
            return multiple()
        assert claim.job_id in free
        self.note(claim)
        return claim

    @rule(seconds=st.sampled_from([1, 30, 61]))
    def time_passes(self, seconds: int) -> None:
        self.clock.advance(seconds)

    @rule(claim=claims)
    def beat(self, claim: Claim) -> None:
        if self.refused(claim, lambda: self.store.beat(claim, LEASE_SECONDS)):
            return
        self.expected[claim.job_id].lease_until = self.clock() + LEASE_SECONDS

    @rule(claim=claims)
    def write_to_the_ledger(self, claim: Claim) -> None:
        if not self.refused(claim, lambda: self.store.record_intent(claim, [entry()])):
            assert self.store.ledger("docs")[entry().document_id].job_id == claim.job_id

    @rule(claim=claims)
    def release(self, claim: Claim) -> None:
        if not self.refused(claim, lambda: self.store.release(claim, "interrupted")):
            self.expected[claim.job_id].status = JobStatus.PENDING

    @rule(claim=claims, status=st.sampled_from([s for s in JobStatus if s.is_final]))
    def finish(self, claim: Claim, status: JobStatus) -> None:
        if self.refused(claim, lambda: self.store.finish(claim, status, summary={})):
            return
        self.expected[claim.job_id].status = status
        final = self.store.get(claim.job_id)
        assert final is not None
        self.finals[claim.job_id] = final

    def refused(self, claim: Claim, write: object) -> bool:
        assert callable(write)
        if self.holds(claim):
            write()
            return False
        with pytest.raises(LeaseLostError):
            write()
        return True

    @invariant()
    def the_store_is_as_expected(self) -> None:
        jobs = {job.id: job for job in self.store.list_jobs(limit=1000)[0]}
        assert {job_id: (job.status, job.fence, job.attempt) for job_id, job in jobs.items()} == {
            job_id: (job.status, job.fence, job.fence) for job_id, job in self.expected.items()
        }
        assert {job_id: jobs[job_id] for job_id in self.finals} == self.finals

    @invariant()
    def at_most_the_last_attempt_is_open(self) -> None:
        for job_id, job in self.expected.items():
            attempts = self.store.attempts_of(job_id)
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
            max_examples=20,
            stateful_step_count=25,
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
