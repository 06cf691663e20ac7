"""Looking for all that has not ended misses no job that changes its state between two looks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from lexigram_ray.core.types import JobStatus
from lexigram_ray.jobs import unfinished
from lexigram_ray.jobs.owner import Owner
from lexigram_ray.jobs.records import INTERRUPTED, Claim
from lexigram_ray.jobs.store import Store
from lexigram_ray.jobs.unfinished import unfinished_jobs
from tests.contract.store_data import claimed, submit


def after_the_first_look(
    store: Store, monkeypatch: pytest.MonkeyPatch, change: Callable[[], object]
) -> None:
    look, changes = store.list_jobs, [change]

    def list_jobs(**asked: Any) -> Any:
        found = look(**asked)
        while changes:
            changes.pop()()
        return found

    monkeypatch.setattr(store, "list_jobs", list_jobs)


def test_a_job_that_goes_back_to_waiting_between_two_looks_is_seen(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = submit(store)
    claim = claimed(store, job.id)
    after_the_first_look(store, monkeypatch, lambda: store.release(claim, INTERRUPTED))
    assert job.id in {each.id for each in unfinished_jobs(store, kind="ingest", collection="docs")}


def test_a_job_that_begins_between_two_looks_is_seen(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = submit(store)
    after_the_first_look(store, monkeypatch, lambda: store.claim(job.id, Owner.current(), 60.0))
    assert job.id in {each.id for each in unfinished_jobs(store, kind="ingest", collection="docs")}


def test_jobs_of_other_kinds_and_collections_are_left_out(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unfinished, "JOBS_AT_ONCE", 1)
    mine = {submit(store, f"key {number}").id for number in range(3)}
    submit(store, "elsewhere", collection="other")
    submit(store, "of another kind", kind="embed")
    assert {job.id for job in unfinished_jobs(store, kind="ingest", collection="docs")} == mine


def test_a_digest_is_found_while_the_job_whose_spec_has_it_is_unfinished(store: Store) -> None:
    job = submit(store, spec={"rows": "a1b2"})
    submit(store, "another", kind="embed", spec={"rows": "c3d4"})

    def is_found(digest: str, kind: str = "ingest") -> bool:
        return store.has_unfinished_with(digest, kind=kind)

    assert (is_found("a1b2"), is_found("a1b3"), is_found("c3d4")) == (True, False, False)
    assert (is_found("c3d4", "embed"), is_found("a1b2", "embed")) == (True, False)
    claim = store.claim(job.id, Owner.current(), 60.0)
    assert isinstance(claim, Claim)
    assert is_found("a1b2")
    store.finish(claim, JobStatus.COMPLETED, summary={})
    assert not is_found("a1b2")
