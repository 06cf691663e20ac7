"""A claim stays alive while its run works, whatever befalls a beat."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from lexigram_ray.core.errors import LeaseLostError
from lexigram_ray.jobs.heartbeat import Heartbeat
from lexigram_ray.jobs.owner import Owner
from lexigram_ray.jobs.records import Claim
from lexigram_ray.jobs.store import Store
from tests.contract.store_data import claimed, found

EVERY_SECONDS = 0.02
WAIT_SECONDS = 10.0


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(f"sqlite:///{tmp_path / 'jobs.db'}") as opened:
        yield opened


@pytest.fixture
def claim(store: Store) -> Claim:
    return claimed(store, owner=Owner.current())


def shown(store: Store, claim: Claim) -> object:
    return found(store, claim.job_id).progress.get("done")


def cancel_and_work_on(store: Store, beats: Heartbeat, claim: Claim) -> None:
    store.cancel(claim.job_id, Owner.current(), turn_seconds=30)
    deadline = time.monotonic() + WAIT_SECONDS
    while time.monotonic() < deadline:
        beats.check()
        time.sleep(EVERY_SECONDS)
    pytest.fail("the run was not told")


def test_a_beat_that_fails_does_not_end_the_beating(store: Store, claim: Claim) -> None:
    beats: list[int] = []

    def progress() -> dict[str, object]:
        beats.append(1)
        if len(beats) == 1:
            raise RuntimeError("changed while it was read")
        return {"done": 7}

    deadline = time.monotonic() + WAIT_SECONDS
    with Heartbeat(store, claim, every_seconds=EVERY_SECONDS, lease_seconds=60, progress=progress):
        while shown(store, claim) != 7:
            assert time.monotonic() < deadline
            time.sleep(EVERY_SECONDS)


def test_a_cancelled_jobs_run_is_told_by_its_next_beat(store: Store, claim: Claim) -> None:
    beats = Heartbeat(
        store, claim, every_seconds=EVERY_SECONDS, lease_seconds=60, progress=lambda: {"done": 1}
    )
    with pytest.raises(LeaseLostError, match="it is cancelled"), beats:
        cancel_and_work_on(store, beats, claim)
