"""What tests of the store run in other processes. Usage: store_child.py COMMAND URL ..."""

from __future__ import annotations

import os
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

from lexigram_ray.core.errors import UsageError
from lexigram_ray.jobs.owner import Owner
from lexigram_ray.jobs.records import Claim, Submission
from lexigram_ray.jobs.schedule_records import PlannedRun, Trigger
from lexigram_ray.jobs.store import Store
from tests.contract.store_data import claimed, entry, result


def open_store(url: str) -> None:
    """Say when ready; open at the starting signal."""
    say("ready")
    sys.stdin.readline()
    with Store.open(url) as store:
        say(store.store_id)


def submit_same(url: str, threads: str) -> None:
    """Submit one specification from many threads at the starting signal."""

    def submit(_: int) -> str:
        job, is_new = store.submit(kind="ingest", collection="docs", spec={}, spec_key="same")
        return f"{job.id} {is_new}"

    with Store.open(url) as store, ThreadPoolExecutor(int(threads)) as pool:
        say("ready")
        sys.stdin.readline()
        for answer in pool.map(submit, range(int(threads))):
            say(answer)


def submit_crosswise(url: str, first: str, step: str, rounds: str) -> None:
    """Submit the same batches as others do, each in an order of its own."""
    with Store.open(url) as store:
        say("ready")
        sys.stdin.readline()
        for turn in range(int(rounds)):
            keys = [f"{turn}-{(int(first) + place * int(step)) % 31}" for place in range(31)]
            batch = [
                Submission(
                    kind="ingest", collection="docs", spec={}, spec_key=key, unique_key=f"k{key}"
                )
                for key in keys
            ]
            say(str(sum(is_new for _, is_new in store.submit_many(batch))))


def cancel(url: str, job_id: str) -> None:
    """Cancel a job at the starting signal, and say when that is done."""
    with Store.open(url) as store:
        say("ready")
        sys.stdin.readline()
        try:
            say(store.cancel(job_id, Owner.current(), turn_seconds=60).status)
        except UsageError:
            say("too late")


def fail_overdue(url: str) -> None:
    """Fail what is overdue at the starting signal."""
    with Store.open(url) as store:
        say("ready")
        sys.stdin.readline()
        say(" ".join(store.fail_overdue(Owner.current(), turn_seconds=60)))


def hold(url: str, job_id: str, lease_seconds: str) -> None:
    """Claim a job, and never beat."""
    with Store.open(url) as store:
        claim = store.claim(job_id, Owner.current(), float(lease_seconds))
        assert isinstance(claim, Claim)
        say("claimed")
        time.sleep(600)


def hold_turn(url: str, lease_seconds: str) -> None:
    """Take the turn, and keep it."""
    with Store.open(url) as store, store.turn("docs", Owner.current(), float(lease_seconds)):
        say("mine")
        time.sleep(600)


def claim_many(url: str, rounds: str) -> None:
    """Claim whatever there is; say what was got."""
    with Store.open(url) as store:
        say("ready")
        sys.stdin.readline()
        for _ in range(int(rounds)):
            claim = store.claim_next("ingest", Owner.current(), 600)
            say(claim.job_id if claim else "none")
        # What a process that has ended held is anyone's.
        time.sleep(600)


def mark_many_done(url: str, count: str) -> None:
    """Mark many documents done in one call."""
    with Store.open(url) as store:
        claim = claimed(store, owner=Owner.current())
        entries = [entry(number) for number in range(int(count))]
        results = [result(number) for number in range(int(count))]
        store.record_intent(claim, entries)
        say("marking")
        store.mark_done(claim, entries, results)
        say("marked")
        time.sleep(600)


def take_turns(url: str, rounds: str, log: str) -> None:
    """Take turns, and log when each begins and ends."""
    with Store.open(url) as store:
        say("ready")
        sys.stdin.readline()
        for _ in range(int(rounds)):
            with store.turn("docs", Owner.current(), 60):
                append(log, f"begin {os.getpid()}\n")
                time.sleep(0.005)
                append(log, f"end {os.getpid()}\n")


def record_runs(url: str, minutes: str) -> None:
    """Decide on every minute of a schedule, as a scheduler does that never sleeps."""
    with Store.open(url) as store:
        say("ready")
        sys.stdin.readline()
        made = 0
        while (schedule := store.schedules.get("minutely")) is not None:
            assert schedule.considered_until is not None
            assert schedule.created_at is not None
            due = schedule.considered_until + timedelta(minutes=1)
            if due > schedule.created_at + timedelta(minutes=int(minutes)):
                break
            planned = PlannedRun(due_at=due, trigger=Trigger.SCHEDULE, start_at=due)
            made += len(store.schedules.record(schedule, [planned], due))
        say(str(made))


def append(log: str, line: str) -> None:
    descriptor = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(descriptor, line.encode())
    os.close(descriptor)


def say(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    commands = (
        open_store,
        submit_same,
        submit_crosswise,
        cancel,
        fail_overdue,
        hold,
        hold_turn,
        claim_many,
        mark_many_done,
        take_turns,
        record_runs,
    )
    {command.__name__: command for command in commands}[sys.argv[1]](*sys.argv[2:])
