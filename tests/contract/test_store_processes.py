"""What every store promises when processes stop, die, and come at the same moment."""

from __future__ import annotations

import random
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from lexigram_ray.core.errors import LeaseLostError
from lexigram_ray.core.types import JobStatus
from lexigram_ray.jobs.owner import Owner
from lexigram_ray.jobs.records import Busy, Claim, LedgerState, UnitState
from lexigram_ray.jobs.store import Store
from tests.contract.store_data import child, line_from, submit, wait_until_stopped

pytestmark = pytest.mark.slow


@pytest.fixture
def real_store(store_url: str) -> Iterator[Store]:
    with Store.open(store_url) as opened:
        yield opened


def start_together(stack: ExitStack, count: int, command: str, *arguments: object):
    """Start like processes, and let them go at the same moment."""
    return start_all(stack, [(command, *arguments)] * count)


def start_all(stack: ExitStack, commands: list[tuple[object, ...]]) -> list[subprocess.Popen[str]]:
    """Start processes, and let them go at the same moment."""
    processes = [
        stack.enter_context(child(str(command), *arguments)) for command, *arguments in commands
    ]
    assert [line_from(process) for process in processes] == ["ready"] * len(commands)
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
    for process in processes:
        assert process.stdin is not None
        process.stdin.flush()
    return processes


def test_processes_that_open_an_empty_store_at_once_get_the_same_store(store_url: str) -> None:
    with ExitStack() as stack:
        processes = start_together(stack, 4, "open_store", store_url)
        ids = {line_from(process) for process in processes}

    with Store.open(store_url) as store:
        assert ids == {store.store_id}


def test_processes_that_submit_the_same_at_once_make_one_job(
    real_store: Store, store_url: str
) -> None:
    with ExitStack() as stack:
        processes = start_together(stack, 4, "submit_same", store_url, 25)
        answers = [line_from(process).split() for process in processes for _ in range(25)]

    assert len({job_id for job_id, _ in answers}) == 1
    assert sorted(is_new for _, is_new in answers) == ["False"] * 99 + ["True"]
    assert len(real_store.list_jobs()[0]) == 1


def test_batches_that_overlap_crosswise_make_each_job_once(
    real_store: Store, store_url: str
) -> None:
    with ExitStack() as stack:
        orders = [(0, 1), (30, 30), (7, 3), (12, 28)]
        processes = start_all(
            stack, [("submit_crosswise", store_url, *order, 12) for order in orders]
        )
        made = [int(line_from(process)) for process in processes for _ in range(12)]

    assert sum(made) == 31 * 12
    assert real_store.counts()[JobStatus.PENDING] == 31 * 12


def test_a_job_is_ended_once_however_many_end_it(real_store: Store, store_url: str) -> None:
    soon = datetime.now(UTC) + timedelta(seconds=1)
    job = submit(real_store, deadline=soon)
    claim = real_store.claim(job.id, Owner.current(), 60)
    assert isinstance(claim, Claim)
    time.sleep(1)
    with ExitStack() as stack:
        cancelling, failing = ("cancel", store_url, job.id), ("fail_overdue", store_url)
        processes = start_all(stack, [cancelling, failing] * 2)
        said = [line_from(process) for process in processes]

    ended = real_store.get(job.id)
    assert ended is not None
    assert (ended.status, sorted(said)) in (
        (JobStatus.CANCELLED, ["", "", "cancelled", "cancelled"]),
        (JobStatus.FAILED, sorted(["", job.id, "too late", "too late"])),
    )
    with pytest.raises(LeaseLostError):
        real_store.beat(claim, 60)


def test_processes_that_claim_at_once_never_get_the_same_job(
    real_store: Store, store_url: str
) -> None:
    ids = {submit(real_store, str(number)).id for number in range(30)}
    with ExitStack() as stack:
        processes = start_together(stack, 3, "claim_many", store_url, 15)
        got = [line_from(process) for process in processes for _ in range(15)]

    jobs = [job_id for job_id in got if job_id != "none"]
    assert sorted(jobs) == sorted(ids)
    assert all(job.fence == 1 for job in real_store.list_jobs(limit=100)[0])


def test_a_killed_owners_job_is_claimable_at_once(real_store: Store, store_url: str) -> None:
    job = submit(real_store)
    with child("hold", store_url, job.id, 3600) as process:
        assert line_from(process) == "claimed"
        assert isinstance(real_store.claim(job.id, Owner.current(), 60), Busy)

        process.send_signal(signal.SIGKILL)
        # Not yet reaped, the dead process still has its pid.
        time.sleep(0.2)
        claim = real_store.claim(job.id, Owner.current(), 60)

    assert isinstance(claim, Claim)
    assert claim.fence == 2


def test_a_stopped_owners_job_is_claimable_only_after_its_lease(
    real_store: Store, store_url: str
) -> None:
    job = submit(real_store)
    with child("hold", store_url, job.id, 3) as process:
        assert line_from(process) == "claimed"
        process.send_signal(signal.SIGSTOP)
        wait_until_stopped(process)
        busy = real_store.claim(job.id, Owner.current(), 60)
        assert isinstance(busy, Busy)

        while isinstance(claim := real_store.claim(job.id, Owner.current(), 60), Busy):
            assert time.time() < busy.lease_until.timestamp() + 5
            time.sleep(0.05)

        assert isinstance(claim, Claim)
        assert time.time() >= busy.lease_until.timestamp()
        stale = Claim(job_id=job.id, fence=1, owner=busy.owner)
        with pytest.raises(LeaseLostError):
            real_store.beat(stale, 60)


@pytest.mark.parametrize("seed", range(4))
def test_a_kill_in_the_middle_of_mark_done_leaves_all_or_nothing(
    real_store: Store, store_url: str, seed: int
) -> None:
    with child("mark_many_done", store_url, 3000) as process:
        assert line_from(process) == "marking"
        time.sleep(random.Random(seed).uniform(0, 0.6))
        process.kill()
        process.wait()

    [job] = real_store.list_jobs()[0]
    states = [entry.state for entry in real_store.ledger("docs").values()]
    units = [unit.state for unit in real_store.units(job.id)]
    assert (set(states), units) in (
        ({LedgerState.WRITING}, []),
        ({LedgerState.DONE}, [UnitState.DONE] * 3000),
    )
    assert len(states) == 3000


def test_the_turns_of_processes_do_not_overlap(
    real_store: Store, store_url: str, tmp_path: Path
) -> None:
    log = tmp_path / "turns.log"
    with ExitStack() as stack:
        processes = start_together(stack, 3, "take_turns", store_url, 15, log)
        assert [process.wait(60) for process in processes] == [0, 0, 0]

    lines = log.read_text().splitlines()
    assert len(lines) == 90
    begins, ends = lines[0::2], lines[1::2]
    assert [line.replace("begin", "end") for line in begins] == ends


def test_a_killed_holders_turn_is_taken_at_once(real_store: Store, store_url: str) -> None:
    with child("hold_turn", store_url, 3600) as process:
        assert line_from(process) == "mine"
        process.kill()
        started = time.monotonic()

        with real_store.turn("docs", Owner.current(), 60):
            waited = time.monotonic() - started

    assert waited < 30


def test_a_stopped_holders_turn_is_taken_after_its_lease(real_store: Store, store_url: str) -> None:
    with child("hold_turn", store_url, 2) as process:
        assert line_from(process) == "mine"
        process.send_signal(signal.SIGSTOP)
        wait_until_stopped(process)

        with real_store.turn("docs", Owner.current(), 60):
            pass
